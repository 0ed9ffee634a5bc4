package main

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/units"
	"github.com/vmware/govmomi/vim25/types"
)

func (b *builder) datastores() error {
	ctx := b.service.Context
	root := simulatorHome(ctx.Map)
	for _, config := range b.Datastores {
		folder := filepath.Join(root, "datastore-"+filepath.Base(config.Name))
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
		var ds *object.Datastore
		for _, host := range b.hosts {
			system, err := host.ConfigManager().DatastoreSystem(b)
			if err != nil {
				return err
			}
			if ds, err = system.CreateLocalDatastore(b, config.Name, folder); err != nil {
				return err
			}
		}
		ds, err := b.finder.Datastore(b, config.Name)
		if err != nil {
			return err
		}
		// The simulator shows the sizes of this machine's own disk.
		capacity := orDefault(config.CapacityGiB, 4096) * gib
		free := orDefault(config.FreeGiB*gib, capacity/2)
		held := ctx.Map.Get(ds.Reference()).(*simulator.Datastore)
		held.Info.GetDatastoreInfo().FreeSpace = free
		ctx.Map.AtomicUpdate(ctx, held, []types.PropertyChange{
			{Name: "summary.capacity", Val: capacity},
			{Name: "summary.freeSpace", Val: free},
			{Name: "summary.type", Val: string(types.HostFileSystemVolumeFileSystemTypeVMFS)},
		})
		b.note(path.Join("/", b.Datacenter, "datastore", config.Name), ds)
	}
	return nil
}

// simulatorHome is the folder that simulator.Model.Remove removes.
func simulatorHome(registry *simulator.Registry) string {
	for _, option := range registry.OptionManager().Setting {
		if value := option.GetOptionValue(); value.Key == "vcsim.home" {
			return value.Value.(string)
		}
	}
	return os.TempDir()
}

func (b *builder) machines() error {
	for _, config := range b.Templates {
		vm, err := b.machine(config)
		if err != nil {
			return err
		}
		if err := vm.MarkAsTemplate(b); err != nil {
			return err
		}
	}
	for _, config := range b.VMs {
		vm, err := b.machine(config)
		if err != nil {
			return err
		}
		if config.PoweredOff {
			continue
		}
		task, err := vm.PowerOn(b)
		if err != nil {
			return err
		}
		if err := task.Wait(b); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) machine(config machineConfig) (*object.VirtualMachine, error) {
	folder, err := b.folder(config.Folder)
	if err != nil {
		return nil, err
	}
	pool := b.rootPool
	if config.ResourcePool != "" {
		if pool, err = b.finder.ResourcePool(b, path.Join(b.Cluster, "Resources", config.ResourcePool)); err != nil {
			return nil, err
		}
	}
	spec, err := b.machineSpec(config)
	if err != nil {
		return nil, err
	}
	task, err := folder.CreateVM(b, *spec, pool, nil)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(b, nil)
	if err != nil {
		return nil, err
	}
	vm := object.NewVirtualMachine(b.client, info.Result.(types.ManagedObjectReference))
	b.note(path.Join("/", b.Datacenter, "vm", config.Folder, config.Name), vm)
	return vm, nil
}

func (b *builder) machineSpec(config machineConfig) (*types.VirtualMachineConfigSpec, error) {
	network, err := b.finder.Network(b, orDefault(config.Network, "VM Network"))
	if err != nil {
		return nil, err
	}
	backing, err := network.EthernetCardBackingInfo(b)
	if err != nil {
		return nil, err
	}
	datastore := orDefault(config.Datastore, b.Datastores[0].Name)
	files := &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "]"}
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{},
		files.VmPathName+" "+path.Join(config.Name, "disk1.vmdk"))
	disk.CapacityInKB = orDefault(config.DiskGiB, 10) * gib / units.KB
	nic, err := devices.CreateEthernetCard("vmxnet3", backing)
	if err != nil {
		return nil, err
	}
	changes, err := append(devices, scsi, disk, nic).ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return nil, err
	}
	spec := &types.VirtualMachineConfigSpec{
		Name:         config.Name,
		GuestId:      orDefault(config.GuestID, string(types.VirtualMachineGuestOsIdentifierUbuntu64Guest)),
		NumCPUs:      orDefault(config.CPUs, 2),
		MemoryMB:     orDefault(config.MemoryMiB, 2048),
		Annotation:   config.Annotation,
		Files:        files,
		DeviceChange: changes,
	}
	for key, value := range config.ExtraConfig {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	if config.Address != "" {
		spec.ExtraConfig = append(spec.ExtraConfig, diskOption(guestDisk{config.Address, orDefault(config.HostName, config.Name)}))
	}
	return spec, nil
}

// diskKey is an extraConfig key of the lab's own: what is written on the guest's disk, so what the guest will be once booted.
const diskKey = "lab.guest"

type guestDisk struct {
	Address  string `json:"address"`
	HostName string `json:"hostName"`
}

func diskOption(disk guestDisk) *types.OptionValue {
	text, _ := json.Marshal(disk) // two strings: cannot fail
	return &types.OptionValue{Key: diskKey, Value: string(text)}
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
