// Command vcenter is the lab's vCenter: govmomi's simulator as a library, with an inventory from a config file, TLS with a
// certificate that the lab's CA signed, and a loopback control port for faults. It obeys the contract of hack/lab/README.md:
// --config FILE, one line of JSON on stdout when it serves, ends at end of file on stdin, on SIGTERM, or with its parent.
//
// hack/lab/vcenter.py documents the config, the ready record, the faults and the control port.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	path := flag.String("config", "", "a JSON file; hack/lab/vcenter.py documents it")
	flag.Parse()
	if err := run(*path); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	stop := stopping()
	config, err := readConfig(path)
	if err != nil {
		return err
	}
	model, err := newModel(config)
	if err != nil {
		return err
	}
	defer model.Remove()
	inventory, err := build(model, config)
	if err != nil {
		return err
	}

	faults := newFaults(model.Service)
	guests := newGuests(model.Service, config.Guests, faults)
	hook(model.Service, faults)
	server, err := newServer(model.Service, config, faults)
	if err != nil {
		return err
	}
	defer server.down()
	controlURL, err := serveControl(&control{model.Service, server, faults, guests})
	if err != nil {
		return err
	}
	record := map[string]any{
		"url":       server.url(),
		"host":      config.Address,
		"port":      server.port(),
		"username":  config.Username,
		"password":  config.Password,
		"control":   controlURL,
		"inventory": inventory,
	}
	if err := json.NewEncoder(os.Stdout).Encode(record); err != nil {
		return err
	}
	<-stop
	return nil
}

// stopping returns a channel that closes at end of file on stdin, on SIGTERM or SIGINT, or when the parent dies.
func stopping() <-chan struct{} {
	// The kernel tells the thread that asked; the main thread lives as long as the process.
	runtime.LockOSThread()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0); errno != 0 {
		log.Printf("PR_SET_PDEATHSIG: %v", errno)
	}
	stop := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	eof := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(eof)
	}()
	go func() {
		select {
		case <-signals:
		case <-eof:
		}
		close(stop)
	}()
	return stop
}
