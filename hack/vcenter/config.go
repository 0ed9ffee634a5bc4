package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// config is what hack/lab/vcenter.py documents; sizes are in the units of their names, times in seconds.
type config struct {
	Address     string `json:"address"`
	Port        int    `json:"port"`
	Username    string `json:"username"`
	Password    string `json:"password"`
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"privateKey"`
	TempFolder  string `json:"tempFolder"`

	Datacenter    string            `json:"datacenter"`
	Cluster       string            `json:"cluster"`
	Hosts         int               `json:"hosts"`
	Datastores    []datastoreConfig `json:"datastores"`
	Networks      []networkConfig   `json:"networks"`
	Folders       []string          `json:"folders"`
	ResourcePools []string          `json:"resourcePools"`
	Templates     []machineConfig   `json:"templates"`
	VMs           []machineConfig   `json:"vms"`
	Guests        guestsConfig      `json:"guests"`
}

type datastoreConfig struct {
	Name        string `json:"name"`
	CapacityGiB int64  `json:"capacityGiB"`
	FreeGiB     int64  `json:"freeGiB"`
}

type networkConfig struct {
	Name        string `json:"name"`
	Distributed bool   `json:"distributed"`
}

// machineConfig is a template or a VM that people made by hand.
type machineConfig struct {
	Name         string            `json:"name"`
	Folder       string            `json:"folder"`
	ResourcePool string            `json:"resourcePool"`
	Datastore    string            `json:"datastore"`
	Network      string            `json:"network"`
	GuestID      string            `json:"guestId"`
	CPUs         int32             `json:"cpus"`
	MemoryMiB    int64             `json:"memoryMiB"`
	DiskGiB      int64             `json:"diskGiB"`
	Annotation   string            `json:"annotation"`
	Address      string            `json:"address"`
	HostName     string            `json:"hostName"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	PoweredOff   bool              `json:"poweredOff"`
}

type guestsConfig struct {
	// External: another part (hack/lab/guests) plays the guests; otherwise this process reports them as booted.
	External    bool    `json:"external"`
	BootSeconds float64 `json:"bootSeconds"`
}

func readConfig(path string) (*config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &config{
		Address:    "127.0.0.1",
		Datacenter: "DC0",
		Cluster:    "C0",
		Hosts:      2,
		Datastores: []datastoreConfig{{Name: "datastore1"}},
	}
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Username == "" || c.Password == "" || c.Certificate == "" || c.PrivateKey == "" {
		return nil, errors.New("username, password, certificate and privateKey are required")
	}
	if !strings.HasPrefix(c.Address, "127.") {
		return nil, fmt.Errorf("address %q is not in 127.0.0.0/8", c.Address)
	}
	if c.TempFolder != "" {
		if err := os.MkdirAll(c.TempFolder, 0o700); err != nil {
			return nil, err
		}
		// The simulator keeps its datastores' files in os.TempDir.
		if err := os.Setenv("TMPDIR", c.TempFolder); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// keyPair takes certificate (leaf first) and key as PEM text or as the path of a PEM file.
func keyPair(certificate, key string) (*tls.Certificate, error) {
	texts := make([][]byte, 2)
	for i, source := range []string{certificate, key} {
		texts[i] = []byte(source)
		if strings.HasPrefix(source, "-----BEGIN") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	return &pair, err
}
