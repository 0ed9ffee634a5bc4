// Command controlplane is a Kubernetes control plane in one process: etcd, kube-apiserver, and the three controllers of
// kube-controller-manager without which namespaces stay Terminating, owned objects stay, and aggregated roles are empty.
// The lab starts it (hack/lab/controlplane.py); it follows the contract of a part in hack/lab/README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
)

// closing is how long the servers get to end tidily: with the parent gone, going away matters more than being tidy.
const closing = 4 * time.Second

// config is what --config FILE holds.
type config struct {
	// Data is a folder to keep objects, certificates and tokens in; empty means a temporary one, removed at the end.
	Data string `json:"data"`
	// Port of the API server on 127.0.0.1; 0 means the one used before with this data folder if it is free, else any.
	Port int `json:"port"`
	// Fsync is whether etcd waits for the disk. Switch it off only where no measurement and no crash matters.
	Fsync *bool `json:"fsync"`
}

// record is the ready record, one line of JSON on stdout.
type record struct {
	Server     string `json:"server"`
	CA         string `json:"ca"`         // PEM
	AdminToken string `json:"adminToken"` // a bearer token of a user in system:masters
	Kubeconfig string `json:"kubeconfig"` // a file (0600) for that user
	Version    string `json:"version"`
	Data       string `json:"data"`
	Fsync      bool   `json:"fsync"`
	Control    string `json:"control"` // base URL of the control port
}

func main() {
	path := flag.String("config", "", "a JSON file; see the type config")
	flag.Parse()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Both ends of a dying parent come at about the same time, so neither may make the other deadly: signals stay caught
	// (signal.NotifyContext would let go of them once its context is cancelled).
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel()
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent, which holds the other end
		cancel()
	}()
	if err := run(ctx, *path); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) (err error) {
	wanted, err := readConfig(path)
	if err != nil {
		return err
	}
	began := time.Now()
	place, err := openPlace(wanted.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.close()) }()

	who, err := openIdentity(place.data)
	if err != nil {
		return err
	}
	listener, err := listen(wanted.Port, filepath.Join(place.data, "port"))
	if err != nil {
		return err
	}
	defer listener.Close()

	database, err := startEtcd(ctx, place, *wanted.Fsync)
	if err != nil {
		return err
	}
	defer database.close()
	klog.InfoS("etcd is ready", "after", time.Since(began))

	// The API server needs etcd to close tidily, so it has a context of its own that ends first.
	serving, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- runAPIServer(serving, listener, database.endpoint, who) }()
	defer waitFor(done, stop)

	admin := who.client("https://" + listener.Addr().String())
	if err := untilServing(ctx, admin, done); err != nil {
		return err
	}
	klog.InfoS("kube-apiserver is ready", "after", time.Since(began))
	if err := startControllers(serving, admin); err != nil {
		return err
	}
	if err := untilUsable(ctx, admin, done); err != nil {
		return err
	}
	klog.InfoS("the control plane is ready", "after", time.Since(began))

	kubeconfig := filepath.Join(place.data, "admin.kubeconfig")
	if err := who.writeKubeconfig(kubeconfig, admin.Host); err != nil {
		return err
	}
	ready := record{
		Server: admin.Host, CA: string(who.ca), AdminToken: who.token, Kubeconfig: kubeconfig,
		Version: version.Get().GitVersion, Data: place.data, Fsync: *wanted.Fsync,
	}
	control, err := serveControl(ready, began)
	if err != nil {
		return err
	}
	defer control.Close()
	ready.Control = "http://" + control.Addr().String()
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		done <- err // waitFor reads it again
		return fmt.Errorf("kube-apiserver ended: %w", err)
	case err := <-database.failed:
		return fmt.Errorf("etcd ended: %w", err)
	}
}

func readConfig(path string) (config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, fmt.Errorf("--config: %w", err)
	}
	yes := true
	wanted := config{Fsync: &yes}
	if err := json.Unmarshal(text, &wanted); err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	if wanted.Fsync == nil {
		wanted.Fsync = &yes
	}
	return wanted, nil
}

// waitFor stops the API server and gives it a moment; the process ends anyway.
func waitFor(done <-chan error, stop context.CancelFunc) {
	stop()
	select {
	case <-done:
	case <-time.After(closing):
		klog.InfoS("kube-apiserver did not end in time")
	}
}
