package main

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hook looks at each call just before the simulator does it: a customization's address is written on the guest's disk, and tasks
// that are to hang or fail are replaced.
func hook(service *simulator.Service, faults *faults) {
	clones := newClones(service)
	service.Context.Map.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if ctx.Session == nil {
			return nil, nil // the simulator refuses
		}
		vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine)
		if !ok {
			return nil, nil
		}
		c := call{method: method.Name, this: method.This}
		switch request := method.Body.(type) {
		case *types.CloneVM_Task:
			c.named = request.Name
			if disk := takeAddress(request.Spec.Customization); disk != nil {
				if request.Spec.Config == nil {
					request.Spec.Config = &types.VirtualMachineConfigSpec{}
				}
				request.Spec.Config.ExtraConfig = append(request.Spec.Config.ExtraConfig, diskOption(*disk))
			}
		case *types.CustomizeVM_Task:
			if disk := takeAddress(&request.Spec); disk != nil {
				ctx.WithLock(vm, func() { writeDisk(ctx, vm, *disk) })
			}
		}
		if method.Name == "Destroy_Task" || method.Name == "UnregisterVM" {
			if fault := clones.unfinished(ctx, vm); fault != nil {
				return nil, fault
			}
		}
		if _, known := taskNames[method.Name]; !known {
			return nil, nil
		}
		if rule, healed := faults.onTask(c); rule != nil {
			instead(ctx, &badTasks{vm, rule, healed, clones, nil})
		} else if method.Name == "CloneVM_Task" {
			instead(ctx, &goodClone{vm, clones})
		}
		return nil, nil
	}
}

// instead lets an object of ours answer this request. What a Handler returns would not do: the simulator prefers what the session
// holds, so it is put there; ctx.Session is this request's own copy.
func instead(ctx *simulator.Context, object mo.Reference) {
	held := simulator.NewRegistry()
	held.Put(object)
	ctx.Session.Registry = held
}

// takeAddress removes the first adapter's fixed address from a customization and returns it: the simulator would show it at the
// very moment of power-on, whereas a guest has it when it has booted.
func takeAddress(spec *types.CustomizationSpec) *guestDisk {
	if spec == nil || len(spec.NicSettingMap) == 0 {
		return nil
	}
	fixed, ok := spec.NicSettingMap[0].Adapter.Ip.(*types.CustomizationFixedIp)
	if !ok {
		return nil
	}
	spec.NicSettingMap[0].Adapter.Ip = &types.CustomizationUnknownIpGenerator{}
	disk := &guestDisk{Address: fixed.IpAddress}
	if linux, ok := spec.Identity.(*types.CustomizationLinuxPrep); ok {
		if name, ok := linux.HostName.(*types.CustomizationFixedName); ok {
			disk.HostName = name.Name
		}
	}
	return disk
}

func writeDisk(ctx *simulator.Context, vm *simulator.VirtualMachine, disk guestDisk) {
	options := []types.BaseOptionValue{diskOption(disk)}
	for _, option := range vm.Config.ExtraConfig {
		if option.GetOptionValue().Key != diskKey {
			options = append(options, option)
		}
	}
	ctx.Update(vm, []types.PropertyChange{{Name: "config.extraConfig", Val: options}})
}

func readDisk(options []types.BaseOptionValue) (disk guestDisk) {
	for _, option := range options {
		if value := option.GetOptionValue(); value.Key == diskKey {
			if text, ok := value.Value.(string); ok {
				_ = json.Unmarshal([]byte(text), &disk)
			}
		}
	}
	return disk
}

// badTasks stands for a VM whose next task hangs (until healed; then it is done), is late (done at once, but not over until healed)
// or fails without having done anything.
type badTasks struct {
	*simulator.VirtualMachine
	rule   *rule
	healed <-chan struct{}
	clones *clones
	outer  *outerTask
}

// start answers with a task of our own; inner does what was asked.
func (b *badTasks) start(ctx *simulator.Context, name string, inner func(*simulator.Context) soap.HasFault) types.ManagedObjectReference {
	task := simulator.CreateTask(b.VirtualMachine, name, nil)
	ctx.Map.Put(task)
	own := *ctx // another holder of locks than the request
	own.Map.AtomicUpdate(&own, task, []types.PropertyChange{
		{Name: "info.key", Val: task.Self.Value},
		{Name: "info.task", Val: task.Self},
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.state", Val: types.TaskInfoStateRunning},
	})
	over := make(chan struct{})
	b.outer = &outerTask{task.Self, over}
	go func() {
		defer close(over)
		result, fault := b.outcome(&own, inner)
		changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
		if fault != nil {
			changes = append(changes,
				types.PropertyChange{Name: "info.error", Val: *fault},
				types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
		} else {
			changes = append(changes,
				types.PropertyChange{Name: "info.result", Val: result},
				types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
		}
		own.Map.AtomicUpdate(&own, task, changes)
	}()
	return task.Self
}

func (b *badTasks) outcome(ctx *simulator.Context, inner func(*simulator.Context) soap.HasFault) (any, *types.LocalizedMethodFault) {
	if b.rule.Effect == "fault" {
		timer := time.NewTimer(seconds(b.rule.Seconds))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.healed:
		}
		return nil, &types.LocalizedMethodFault{Fault: b.rule.newFault(), LocalizedMessage: b.rule.Message}
	}
	if b.rule.Effect == "hang" {
		<-b.healed
	}
	var body soap.HasFault
	ctx.WithLock(b.VirtualMachine, func() { body = inner(ctx) })
	if fault := body.Fault(); fault != nil {
		method, _ := fault.VimFault().(types.BaseMethodFault)
		return nil, &types.LocalizedMethodFault{Fault: method, LocalizedMessage: fault.String}
	}
	ref := reflect.ValueOf(body).Elem().FieldByName("Res").Elem().FieldByName("Returnval").Interface()
	done := ctx.Map.Get(ref.(types.ManagedObjectReference)).(*simulator.Task)
	done.Wait()
	<-b.healed
	return done.Info.Result, done.Info.Error
}

func (b *badTasks) CloneVMTask(ctx *simulator.Context, r *types.CloneVM_Task) soap.HasFault {
	ref := b.start(ctx, "cloneVm", func(ctx *simulator.Context) soap.HasFault { return b.clones.start(ctx, b.VirtualMachine, r, b.outer) })
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: ref}}
}

func (b *badTasks) PowerOnVMTask(ctx *simulator.Context, r *types.PowerOnVM_Task) soap.HasFault {
	ref := b.start(ctx, "powerOn", func(ctx *simulator.Context) soap.HasFault { return b.VirtualMachine.PowerOnVMTask(ctx, r) })
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: ref}}
}

func (b *badTasks) PowerOffVMTask(ctx *simulator.Context, r *types.PowerOffVM_Task) soap.HasFault {
	ref := b.start(ctx, "powerOff", func(ctx *simulator.Context) soap.HasFault { return b.VirtualMachine.PowerOffVMTask(ctx, r) })
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: ref}}
}

func (b *badTasks) DestroyTask(ctx *simulator.Context, r *types.Destroy_Task) soap.HasFault {
	ref := b.start(ctx, "destroy", func(ctx *simulator.Context) soap.HasFault { return b.VirtualMachine.DestroyTask(ctx, r) })
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: ref}}
}

func (b *badTasks) ReconfigVMTask(ctx *simulator.Context, r *types.ReconfigVM_Task) soap.HasFault {
	ref := b.start(ctx, "reconfigVm", func(ctx *simulator.Context) soap.HasFault { return b.VirtualMachine.ReconfigVMTask(ctx, r) })
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: ref}}
}

func (b *badTasks) CustomizeVMTask(ctx *simulator.Context, r *types.CustomizeVM_Task) soap.HasFault {
	ref := b.start(ctx, "customizeVm", func(ctx *simulator.Context) soap.HasFault { return b.VirtualMachine.CustomizeVMTask(ctx, r) })
	return &methods.CustomizeVM_TaskBody{Res: &types.CustomizeVM_TaskResponse{Returnval: ref}}
}
