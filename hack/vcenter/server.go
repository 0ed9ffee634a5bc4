package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
)

// server is the HTTPS side of the vCenter. The simulator's own (NewServer) cannot go down and come back, nor change its
// certificate, so its handlers are served here.
type server struct {
	handler     http.Handler
	address     *net.TCPAddr
	certificate atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	http *http.Server // nil while down
}

func newServer(service *simulator.Service, c *config, faults *faults) (*server, error) {
	pair, err := keyPair(c.Certificate, c.PrivateKey)
	if err != nil {
		return nil, err
	}
	service.Listen = &url.URL{Scheme: "https", Host: c.Address, User: url.UserPassword(c.Username, c.Password)}
	registry := service.Context.Map
	service.RegisterSDK(registry, registry.Path+"/vimService")
	service.ServeMux.HandleFunc(registry.Path+"/vimServiceVersions.xml", service.ServiceVersions)
	service.ServeMux.HandleFunc("/about", service.About)
	s := &server{handler: faults.middleware(service.ServeMux)}
	s.certificate.Store(pair)
	faults.server = s
	wanted, err := net.ResolveTCPAddr("tcp4", net.JoinHostPort(c.Address, strconv.Itoa(c.Port)))
	if err != nil {
		return nil, err
	}
	if s.address, err = holdPort(wanted); err != nil {
		return nil, err
	}
	if err := s.up(); err != nil {
		return nil, err
	}
	service.Listen.Host = s.address.String()
	registry.SessionManager().ServiceHostName = service.Listen.Host
	return s, nil
}

func (s *server) url() string {
	return fmt.Sprintf("https://%s/sdk", s.address)
}

func (s *server) port() int {
	return s.address.Port
}

// up listens at the port that is held.
func (s *server) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	listener, err := net.ListenTCP("tcp4", s.address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil },
		},
		// Clients that refuse the certificate are part of the tests.
		ErrorLog: log.New(log.Writer(), "tls: ", log.Ltime),
	}
	s.http = server
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("serving: %v", err)
		}
	}()
	return nil
}

// down refuses connections from now on and closes those that are open, also where a request runs.
func (s *server) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close()
		s.http = nil
	}
}

// present serves another certificate from now on; open connections are closed, so that clients see it.
func (s *server) present(pair *tls.Certificate) error {
	s.mu.Lock()
	serving := s.http != nil
	s.mu.Unlock()
	s.certificate.Store(pair)
	if !serving {
		return nil
	}
	s.down()
	return s.up()
}

// serveControl starts the control port and returns its URL.
func serveControl(c *control) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		log.Printf("control port: %v", http.Serve(listener, c.routes()))
	}()
	return "http://" + listener.Addr().String(), nil
}
