package main

import "syscall"

// The kernel tells this process when its parent dies, even by SIGKILL. It is asked in init because the request belongs to
// the thread that makes it, and init runs on the main thread, which lives as long as the process.
func init() {
	const setParentDeathSignal = 1 // PR_SET_PDEATHSIG, prctl(2)
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setParentDeathSignal, uintptr(syscall.SIGTERM), 0)
}
