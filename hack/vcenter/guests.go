package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// guests follows power states: it clears what the tools reported when a VM goes off, reports the guest as booted unless another
// part plays the guests, and counts changes for those who wait for them.
type guests struct {
	service *simulator.Service
	config  guestsConfig
	faults  *faults

	mu      sync.Mutex
	version int64
	changed chan struct{} // closed at each change
	// made are the VMs that are complete and not removed: others may be in the middle of a write without a lock.
	made  map[types.ManagedObjectReference]bool
	boots map[types.ManagedObjectReference]int64
}

// guestState is what the tools of a guest report; fields that are not given stay as they are.
type guestState struct {
	IPAddress          *string `json:"ipAddress"`
	HostName           *string `json:"hostName"`
	ToolsRunningStatus *string `json:"toolsRunningStatus"`
	ToolsStatus        *string `json:"toolsStatus"`
	GuestState         *string `json:"guestState"`
}

func newGuests(service *simulator.Service, config guestsConfig, faults *faults) *guests {
	g := &guests{
		service: service, config: config, faults: faults, changed: make(chan struct{}),
		made: map[types.ManagedObjectReference]bool{}, boots: map[types.ManagedObjectReference]int64{},
	}
	service.Context.Map.AddHandler(g)
	// The VMs of the config were powered on before there was anybody to see it.
	for _, vm := range g.all() {
		ctx := g.context()
		ctx.WithLock(vm, func() { g.report(ctx, &vm.VirtualMachine, notRunning()) })
		g.made[vm.Self] = true
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			g.poweredOn(vm.Self, vm.Name)
		}
	}
	return g
}

// Reference identifies the handler in the registry.
func (g *guests) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabGuests", Value: "lab-guests"}
}

// PutObject is part of the handler's interface: a new VM is incomplete, see UpdateObject.
func (g *guests) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject is called just before an object goes.
func (g *guests) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type == "VirtualMachine" {
		g.mu.Lock()
		delete(g.made, ref)
		delete(g.boots, ref)
		g.mu.Unlock()
		g.bump()
	}
}

// UpdateObject is called after a change, with the VM's lock held.
func (g *guests) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	vm, ok := object.(*mo.VirtualMachine)
	if !ok {
		return
	}
	for _, change := range changes {
		switch change.Name {
		case "runtime.powerState":
			g.report(ctx, vm, notRunning())
			if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				ctx.Update(vm, []types.PropertyChange{{Name: "runtime.bootTime", Val: time.Now()}})
				g.poweredOn(vm.Self, vm.Name)
			}
			g.bump()
		case "name": // also the last thing when one is made; then the simulator says that it has no tools
			g.mu.Lock()
			g.made[vm.Self] = true
			g.mu.Unlock()
			if vm.Guest != nil && vm.Guest.ToolsStatus == types.VirtualMachineToolsStatusToolsNotInstalled {
				g.report(ctx, vm, notRunning())
			}
			g.bump()
		case "config.template", "config.extraConfig":
			g.bump()
		}
	}
}

func (g *guests) bump() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version++
	close(g.changed)
	g.changed = make(chan struct{})
}

// poweredOn notes the boot and, unless another part plays the guests, reports the guest as up after the boot time.
func (g *guests) poweredOn(ref types.ManagedObjectReference, name string) {
	g.mu.Lock()
	g.boots[ref]++
	boot := g.boots[ref]
	g.mu.Unlock()
	if g.config.External {
		return
	}
	time.AfterFunc(seconds(g.config.BootSeconds), func() {
		vm, ok := g.service.Context.Map.Get(ref).(*simulator.VirtualMachine)
		if !ok || g.faults.neverBoots(name) {
			return
		}
		ctx := g.context()
		ctx.WithLock(vm, func() {
			g.mu.Lock()
			current := g.boots[ref]
			g.mu.Unlock()
			if current != boot || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
				return
			}
			disk := readDisk(vm.Config.ExtraConfig)
			g.report(ctx, &vm.VirtualMachine, stateOf(disk.Address, orDefault(disk.HostName, name),
				"guestToolsRunning", "toolsOk", "running"))
		})
	})
}

func (g *guests) context() *simulator.Context {
	return &simulator.Context{Context: g.service.Context.Context, Map: g.service.Context.Map}
}

func stateOf(ip, host, running, status, state string) guestState {
	return guestState{&ip, &host, &running, &status, &state}
}

func notRunning() guestState {
	return stateOf("", "", "guestToolsNotRunning", "toolsNotRunning", "notRunning")
}

// report writes what the tools say into the VM, whose lock the caller holds.
func (g *guests) report(ctx *simulator.Context, vm *mo.VirtualMachine, state guestState) {
	var changes []types.PropertyChange
	set := func(value any, names ...string) {
		for _, name := range names {
			changes = append(changes, types.PropertyChange{Name: name, Val: value})
		}
	}
	if state.IPAddress != nil {
		set(*state.IPAddress, "guest.ipAddress", "summary.guest.ipAddress")
		if vm.Guest != nil && len(vm.Guest.Net) > 0 {
			nets := append([]types.GuestNicInfo(nil), vm.Guest.Net...)
			nets[0].IpAddress, nets[0].IpConfig = nil, nil
			if *state.IPAddress != "" {
				nets[0].IpAddress = []string{*state.IPAddress}
				nets[0].IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{{
					IpAddress: *state.IPAddress, PrefixLength: 24, State: "preferred",
				}}}
			}
			set(nets, "guest.net")
		}
	}
	if state.HostName != nil {
		set(*state.HostName, "guest.hostName", "summary.guest.hostName")
	}
	if state.ToolsRunningStatus != nil {
		set(*state.ToolsRunningStatus, "guest.toolsRunningStatus", "summary.guest.toolsRunningStatus")
	}
	if state.ToolsStatus != nil {
		set(types.VirtualMachineToolsStatus(*state.ToolsStatus), "guest.toolsStatus", "summary.guest.toolsStatus")
	}
	if state.GuestState != nil {
		set(*state.GuestState, "guest.guestState")
	}
	ctx.Update(vm, changes)
}

// set writes what the tools of the guest report; false when there is no such VM or it is not powered on.
func (g *guests) set(moRef string, state guestState) bool {
	vm, ok := g.service.Context.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: moRef}).(*simulator.VirtualMachine)
	if !ok {
		return false
	}
	ctx, on := g.context(), false
	ctx.WithLock(vm, func() {
		if on = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn; on {
			g.report(ctx, &vm.VirtualMachine, state)
		}
	})
	return on
}
