package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const temporaryPrefix = "vmscaler-cp-"

// place is where one run lives: a short temporary folder for sockets (their paths are limited to 108 bytes), which is also
// the data folder unless one is to be kept.
type place struct {
	temporary string
	data      string
	locks     []*os.File
}

// openPlace makes the folders, takes their locks, and removes what killed runs left behind.
func openPlace(data string) (*place, error) {
	sweep()
	temporary, err := os.MkdirTemp("", temporaryPrefix)
	if err != nil {
		return nil, err
	}
	made := &place{temporary: temporary, data: data}
	if data == "" {
		made.data = filepath.Join(temporary, "data")
	}
	if made.data, err = filepath.Abs(made.data); err == nil {
		err = os.MkdirAll(made.data, 0o700)
	}
	for _, take := range []func() (*os.File, error){
		func() (*os.File, error) { return lockNew(temporary) },
		func() (*os.File, error) { return lock(made.data, os.O_CREATE) },
	} {
		if err == nil {
			var held *os.File
			if held, err = take(); err == nil {
				made.locks = append(made.locks, held)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, made.close())
	}
	return made, nil
}

func (p *place) close() error {
	err := os.RemoveAll(p.temporary)
	// Servers that did not end in time may still write there, and a folder that is not empty stays.
	for began := time.Now(); err != nil && time.Since(began) < closing; err = os.RemoveAll(p.temporary) {
		time.Sleep(50 * time.Millisecond)
	}
	for _, held := range p.locks {
		held.Close()
	}
	return err
}

const lockName = ".lock"

// lock holds a folder until the process ends, however it ends. `create` is os.O_CREATE, or 0 where only a lock that is there counts.
func lock(folder string, create int) (*os.File, error) {
	return lockFile(folder, lockName, create)
}

// lockNew holds a folder that nobody else knows. Its lock is there only when it is taken: between the two, a sweep would find a folder
// that nobody holds.
func lockNew(folder string) (*os.File, error) {
	const made = lockName + ".new"
	file, err := lockFile(folder, made, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(folder, made), filepath.Join(folder, lockName)); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func lockFile(folder, name string, create int) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s is in use by another control plane: %w", folder, err)
	}
	return file, nil
}

// sweep removes the temporary folders of runs that were killed before they could: ours, and locked by nobody.
func sweep() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), temporaryPrefix+"*"))
	for _, folder := range found {
		info, err := os.Lstat(folder)
		if err != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		// No lock file: a run that is just being made, between MkdirTemp and lockNew, or one that just goes.
		if held, err := lock(folder, 0); err == nil {
			os.RemoveAll(folder)
			held.Close()
		}
	}
}

// listen takes a port of 127.0.0.1 and remembers it in `memory`, so that clients of a kept cluster find it again.
func listen(port int, memory string) (net.Listener, error) {
	on := func(port int) (net.Listener, error) {
		return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	listener, err := on(port)
	if port == 0 {
		if text, failed := os.ReadFile(memory); failed == nil {
			if before, failed := strconv.Atoi(strings.TrimSpace(string(text))); failed == nil {
				if again, failed := on(before); failed == nil {
					listener.Close()
					listener = again
				}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	taken := listener.Addr().(*net.TCPAddr).Port
	return listener, os.WriteFile(memory, []byte(strconv.Itoa(taken)+"\n"), 0o600)
}
