package main

import (
	"path"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
)

// machine is one VM of GET /vms.
type machine struct {
	MoRef        string            `json:"moRef"`
	Name         string            `json:"name"`
	Folder       string            `json:"folder"`
	Template     bool              `json:"template"`
	PowerState   string            `json:"powerState"`
	Boot         int64             `json:"boot"` // another number after each power-on
	Address      string            `json:"address"`
	HostName     string            `json:"hostName"`
	CPUs         int32             `json:"cpus"`
	MemoryMiB    int32             `json:"memoryMiB"`
	InstanceUUID string            `json:"instanceUuid"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	Guest        map[string]string `json:"guest"`
}

func (g *guests) all() (vms []*simulator.VirtualMachine) {
	for _, entity := range g.service.Context.Map.All("VirtualMachine") {
		vms = append(vms, entity.(*simulator.VirtualMachine))
	}
	return vms
}

// list waits until something changed since the version given (or the time is over) and returns all VMs.
func (g *guests) list(since int64, patience time.Duration, gone <-chan struct{}) (int64, []machine) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		g.mu.Lock()
		version, changed := g.version, g.changed
		g.mu.Unlock()
		if version != since {
			return version, g.machines()
		}
		select {
		case <-changed:
		case <-timer.C:
			return version, g.machines()
		case <-gone:
			return version, nil
		}
	}
}

func (g *guests) machines() []machine {
	ctx, machines := g.context(), []machine{}
	for _, vm := range g.all() {
		g.mu.Lock()
		made, boot := g.made[vm.Self], g.boots[vm.Self]
		g.mu.Unlock()
		if !made {
			continue
		}
		ctx.WithLock(vm, func() { machines = append(machines, g.describe(vm, boot)) })
	}
	return machines
}

func (g *guests) describe(vm *simulator.VirtualMachine, boot int64) machine {
	m := machine{
		MoRef: vm.Self.Value, Name: vm.Name, Folder: g.folder(vm), Boot: boot,
		PowerState: string(vm.Runtime.PowerState), ExtraConfig: map[string]string{}, Guest: map[string]string{},
	}
	if vm.Config != nil {
		m.Template, m.InstanceUUID = vm.Config.Template, vm.Config.InstanceUuid
		m.CPUs, m.MemoryMiB = vm.Config.Hardware.NumCPU, vm.Config.Hardware.MemoryMB
		disk := readDisk(vm.Config.ExtraConfig)
		m.Address, m.HostName = disk.Address, disk.HostName
		for _, option := range vm.Config.ExtraConfig {
			value := option.GetOptionValue()
			if text, ok := value.Value.(string); ok {
				m.ExtraConfig[value.Key] = text
			}
		}
	}
	if guest := vm.Guest; guest != nil {
		m.Guest["ipAddress"], m.Guest["hostName"] = guest.IpAddress, guest.HostName
		m.Guest["toolsRunningStatus"], m.Guest["toolsStatus"] = guest.ToolsRunningStatus, string(guest.ToolsStatus)
		m.Guest["guestState"] = guest.GuestState
	}
	return m
}

// folder is the inventory path of what holds the VM.
func (g *guests) folder(vm *simulator.VirtualMachine) string {
	where := ""
	for parent := vm.Parent; parent != nil; {
		entity, ok := g.service.Context.Map.Get(*parent).(mo.Entity)
		if !ok || entity.Entity().Parent == nil { // the root folder has no place in paths
			break
		}
		where = path.Join(entity.Entity().Name, where)
		parent = entity.Entity().Parent
	}
	return "/" + where
}
