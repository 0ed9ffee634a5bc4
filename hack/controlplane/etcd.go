package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

type database struct {
	server   *embed.Etcd
	endpoint string
	failed   <-chan error
}

// startEtcd runs etcd with its two listeners on sockets in a folder that only we may enter: it has no passwords.
func startEtcd(ctx context.Context, where *place, fsync bool) (*database, error) {
	settings := embed.NewConfig()
	settings.Dir = filepath.Join(where.data, "etcd")
	settings.UnsafeNoFsync = !fsync
	settings.Name = "controlplane"
	settings.LogLevel = "warn"
	settings.WarningUnaryRequestDuration = time.Second // the default, 0, reports every request
	settings.LogOutputs = []string{"stderr"}
	client := url.URL{Scheme: "unix", Path: filepath.Join(where.temporary, "client.sock")}
	peer := url.URL{Scheme: "unix", Path: filepath.Join(where.temporary, "peer.sock")}
	settings.ListenClientUrls, settings.ListenPeerUrls = []url.URL{client}, []url.URL{peer}
	// What is advertised must look like host:port and stay the same from run to run. The only member dials nobody.
	advertised := []url.URL{{Scheme: "http", Host: "controlplane.invalid:1"}}
	settings.AdvertiseClientUrls, settings.AdvertisePeerUrls = advertised, advertised
	settings.InitialCluster = settings.InitialClusterFromName(settings.Name)

	server, err := embed.StartEtcd(settings)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return &database{server: server, endpoint: client.String(), failed: server.Err()}, nil
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-server.Err():
	case <-time.After(60 * time.Second):
		err = errors.New("not ready after 60 s")
	}
	server.Close()
	return nil, fmt.Errorf("etcd: %w", err)
}

func (d *database) close() {
	ended := make(chan struct{})
	go func() { d.server.Close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(closing):
	}
}
