package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// holdPort binds the address (port 0: any) with a socket that never listens, and keeps it until the process ends. While the vCenter is
// down its clients are refused, and no other program gets the port, neither by asking for any nor for an outgoing connection; a listener
// that sets SO_REUSEADDR, as Go's do, can be opened there again and again (socket(7); hack/lab/ports.py does the same).
func holdPort(address *net.TCPAddr) (*net.TCPAddr, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	wanted := &syscall.SockaddrInet4{Port: address.Port}
	copy(wanted.Addr[:], address.IP.To4())
	if err := syscall.Bind(fd, wanted); err != nil {
		return nil, fmt.Errorf("%s: %w", address, os.NewSyscallError("bind", err))
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return &net.TCPAddr{IP: address.IP, Port: bound.(*syscall.SockaddrInet4).Port}, nil
}
