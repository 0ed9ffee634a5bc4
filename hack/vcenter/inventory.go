package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const gib = int64(1) << 30

// newModel makes an empty vCenter. With the simulator's own 6.5, vm.guest cannot be read after a customization
// (facts/vsphere.md, "Getting the simulator").
func newModel(c *config) (*simulator.Model, error) {
	model := simulator.VPX()
	model.Datacenter = 0
	about := &model.ServiceContent.About
	about.FullName = "VMware vCenter Server 8.0.3 build-24322831"
	about.Version, about.Build, about.ApiVersion = "8.0.3", "24322831", "8.0.3.0"
	return model, model.Create()
}

// builder makes the inventory through the API itself, as an administrator would.
type builder struct {
	context.Context
	*config
	service  *simulator.Service
	client   *vim25.Client
	finder   *find.Finder
	dc       *object.Datacenter
	folders  *object.DatacenterFolders
	hosts    []*object.HostSystem
	rootPool *object.ResourcePool
	paths    map[string]string
}

// build returns the inventory path of everything made, with its moRef.
func build(model *simulator.Model, c *config) (map[string]string, error) {
	client, err := vim25.NewClient(context.Background(), model.Service)
	if err != nil {
		return nil, err
	}
	b := &builder{
		Context: context.Background(), config: c, service: model.Service, client: client,
		finder: find.NewFinder(client, false), paths: map[string]string{},
	}
	for _, step := range []func() error{b.datacenter, b.networks, b.datastores, b.containers, b.machines} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("the inventory: %w", err)
		}
	}
	return b.paths, nil
}

func (b *builder) note(path string, ref object.Reference) {
	b.paths[path] = ref.Reference().Value
}

func (b *builder) datacenter() error {
	dc, err := object.NewRootFolder(b.client).CreateDatacenter(b, b.Datacenter)
	if err != nil {
		return err
	}
	b.dc = dc
	b.finder.SetDatacenter(dc)
	if b.folders, err = dc.Folders(b); err != nil {
		return err
	}
	cluster, err := b.folders.HostFolder.CreateCluster(b, b.Cluster, types.ClusterConfigSpecEx{})
	if err != nil {
		return err
	}
	for n := range max(b.Hosts, 1) {
		spec := types.HostConnectSpec{HostName: fmt.Sprintf("esx-%d.example.test", n+1)}
		task, err := cluster.AddHost(b, spec, true, nil, nil)
		if err != nil {
			return err
		}
		info, err := task.WaitForResult(b, nil)
		if err != nil {
			return err
		}
		b.hosts = append(b.hosts, object.NewHostSystem(b.client, info.Result.(types.ManagedObjectReference)))
	}
	b.rootPool, err = cluster.ResourcePool(b)
	b.note(path.Join("/", b.Datacenter), dc)
	b.note(path.Join("/", b.Datacenter, "host", b.Cluster), cluster)
	return err
}

func (b *builder) networks() error {
	var dvs *object.DistributedVirtualSwitch
	for _, network := range b.Networks {
		switch {
		case network.Distributed:
			var err error
			if dvs == nil {
				if dvs, err = b.distributedSwitch(); err != nil {
					return err
				}
			}
			task, err := dvs.AddPortgroup(b, []types.DVPortgroupConfigSpec{{
				Name: network.Name, Type: string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding), NumPorts: 128,
			}})
			if err != nil {
				return err
			}
			if err := task.Wait(b); err != nil {
				return err
			}
		case network.Name != "VM Network": // every new datacenter has that one
			if err := b.standardPortGroup(network.Name); err != nil {
				return err
			}
		}
		ref, err := b.finder.Network(b, network.Name)
		if err != nil {
			return err
		}
		b.note(path.Join("/", b.Datacenter, "network", network.Name), ref)
	}
	b.clusterNetworks()
	return nil
}

func (b *builder) distributedSwitch() (*object.DistributedVirtualSwitch, error) {
	spec := types.DVSCreateSpec{ConfigSpec: &types.VMwareDVSConfigSpec{}}
	spec.ConfigSpec.GetDVSConfigSpec().Name = "dvs-1"
	task, err := b.folders.NetworkFolder.CreateDVS(b, spec)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(b, nil)
	if err != nil {
		return nil, err
	}
	dvs := object.NewDistributedVirtualSwitch(b.client, info.Result.(types.ManagedObjectReference))
	config := &types.DVSConfigSpec{}
	for _, host := range b.hosts {
		config.Host = append(config.Host, types.DistributedVirtualSwitchHostMemberConfigSpec{
			Operation: string(types.ConfigSpecOperationAdd), Host: host.Reference(),
		})
	}
	if task, err = dvs.Reconfigure(b, config); err != nil {
		return nil, err
	}
	return dvs, task.Wait(b)
}

// standardPortGroup adds one to the first host's vSwitch0 and, as the simulator does not, shows it on every host.
func (b *builder) standardPortGroup(name string) error {
	system, err := b.hosts[0].ConfigManager().NetworkSystem(b)
	if err != nil {
		return err
	}
	if err := system.AddPortGroup(b, types.HostPortGroupSpec{Name: name, VswitchName: "vSwitch0"}); err != nil {
		return err
	}
	network, err := b.finder.Network(b, name)
	if err != nil {
		return err
	}
	ctx := b.service.Context
	for _, host := range b.hosts {
		host := ctx.Map.Get(host.Reference()).(*simulator.HostSystem)
		networks := append(slices.Clone(host.Network), network.Reference())
		ctx.Map.AtomicUpdate(ctx, host, []types.PropertyChange{{Name: "network", Val: networks}})
	}
	return nil
}

// clusterNetworks gives the cluster what its hosts have, once each: the simulator lists a port group once for each host.
func (b *builder) clusterNetworks() {
	ctx := b.service.Context
	networks := ctx.Map.Get(b.hosts[0].Reference()).(*simulator.HostSystem).Network
	cluster := ctx.Map.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	ctx.Map.AtomicUpdate(ctx, cluster, []types.PropertyChange{{Name: "network", Val: slices.Clone(networks)}})
}

func (b *builder) containers() error {
	for _, folder := range b.Folders {
		if _, err := b.folder(folder); err != nil {
			return err
		}
	}
	for _, name := range b.ResourcePools {
		pool, err := b.rootPool.Create(b, name, types.DefaultResourceConfigSpec())
		if err != nil {
			return err
		}
		b.note(path.Join("/", b.Datacenter, "host", b.Cluster, "Resources", name), pool)
	}
	return nil
}

// folder finds or makes a VM folder, given its path below /<datacenter>/vm.
func (b *builder) folder(below string) (*object.Folder, error) {
	at, where := b.folders.VmFolder, path.Join("/", b.Datacenter, "vm")
	for _, name := range strings.Split(strings.Trim(below, "/"), "/") {
		if name == "" {
			continue
		}
		where = path.Join(where, name)
		next, err := b.finder.Folder(b, where)
		if err != nil {
			if next, err = at.CreateFolder(b, name); err != nil {
				return nil, err
			}
		}
		b.note(where, next)
		at = next
	}
	return at, nil
}
