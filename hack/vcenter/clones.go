package main

import (
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// clones knows which VMs are still being made. The simulator lets a client destroy such a VM, and then crashes as a whole; a
// vCenter refuses it with TaskInProgress.
type clones struct {
	mu      sync.Mutex
	running map[*clone]bool
}

type clone struct {
	folder types.ManagedObjectReference
	name   string
	task   types.ManagedObjectReference
	// made are the VMs that appeared in that folder meanwhile; they have no name yet.
	made []types.ManagedObjectReference
}

func newClones(service *simulator.Service) *clones {
	c := &clones{running: map[*clone]bool{}}
	service.Context.Map.AddHandler(c)
	return c
}

// outerTask stands for the clone's own task, which is a part of it.
type outerTask struct {
	ref  types.ManagedObjectReference
	over <-chan struct{}
}

// start does the clone. `outer` is the task that the client was given, nil where that is the clone's own.
func (c *clones) start(
	ctx *simulator.Context, vm *simulator.VirtualMachine, r *types.CloneVM_Task, outer *outerTask,
) soap.HasFault {
	one := &clone{folder: r.Folder, name: r.Name}
	c.mu.Lock()
	c.running[one] = true
	c.mu.Unlock()
	end := func() {
		c.mu.Lock()
		delete(c.running, one)
		c.mu.Unlock()
	}
	body := vm.CloneVMTask(ctx, r)
	if body.Fault() != nil {
		end()
		return body
	}
	ref := body.(*methods.CloneVM_TaskBody).Res.Returnval
	wait := ctx.Map.Get(ref).(*simulator.Task).Wait
	if outer != nil {
		ref, wait = outer.ref, func() { <-outer.over }
	}
	c.mu.Lock()
	one.task = ref
	c.mu.Unlock()
	go func() {
		wait()
		end()
	}()
	return body
}

// unfinished is the refusal for a VM whose clone task still runs, otherwise nil.
func (c *clones) unfinished(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	c.mu.Lock()
	var tasks []types.ManagedObjectReference
	for one := range c.running {
		if one.name == vm.Name && slices.Contains(one.made, vm.Self) {
			tasks = append(tasks, one.task)
		}
	}
	c.mu.Unlock()
	for _, ref := range tasks {
		// The client may have seen the task's end a moment before start did.
		if task, ok := ctx.Map.Get(ref).(*simulator.Task); ok {
			var state types.TaskInfoState
			ctx.WithLock(task, func() { state = task.Info.State })
			if state == types.TaskInfoStateSuccess || state == types.TaskInfoStateError {
				continue
			}
		}
		return &types.TaskInProgress{Task: ref}
	}
	return nil
}

// Reference identifies the handler in the registry.
func (c *clones) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabClones", Value: "lab-clones"}
}

// PutObject is called for each new object.
func (c *clones) PutObject(_ *simulator.Context, object mo.Reference) {
	vm, ok := object.(*simulator.VirtualMachine)
	if !ok || vm.Parent == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.running {
		if one.folder == *vm.Parent {
			one.made = append(one.made, vm.Self)
		}
	}
}

// UpdateObject is part of the handler's interface.
func (c *clones) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject is part of the handler's interface.
func (c *clones) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// goodClone stands for a VM that is cloned as asked.
type goodClone struct {
	*simulator.VirtualMachine
	clones *clones
}

// CloneVMTask is what the simulator calls.
func (g *goodClone) CloneVMTask(ctx *simulator.Context, r *types.CloneVM_Task) soap.HasFault {
	return g.clones.start(ctx, g.VirtualMachine, r, nil)
}
