package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// rule is one fault: of calls (Effect delay, hang, drop, lose, fault) or of tasks (hang, late, fault).
type rule struct {
	Method string `json:"method"`
	// Entity is a glob on the name of the object called, or on the name that the call gives (a clone's).
	Entity  string  `json:"entity,omitempty"`
	Effect  string  `json:"effect"`
	Seconds float64 `json:"seconds,omitempty"`
	Fault   string  `json:"fault,omitempty"`
	Message string  `json:"message,omitempty"`
	Skip    int     `json:"skip,omitempty"`  // calls let through first
	Count   int     `json:"count,omitempty"` // then this many are hit; 0: until healed
	Hits    int     `json:"hits"`
}

// faultSet is the document of GET and PUT /faults.
type faultSet struct {
	Down        bool               `json:"down"`
	Latency     float64            `json:"latency"`
	Calls       []*rule            `json:"calls"`
	Tasks       []*rule            `json:"tasks"`
	TaskSeconds map[string]float64 `json:"taskSeconds"`
	NeverBoot   []string           `json:"neverBoot"`
}

// knownFaults tells a client whose set was refused what there is.
var knownFaults = map[string]string{
	"down":        "true: connections are refused, open ones closed",
	"latency":     "seconds before each call",
	"calls":       "rules: method (or *), entity (glob), effect delay|hang|drop|lose|fault, seconds, fault, message, skip, count",
	"tasks":       "rules: method, entity (glob), effect hang|late|fault, seconds, fault, message, skip, count",
	"taskSeconds": "how long the tasks of a method take, by method",
	"neverBoot":   "globs of VMs whose guests do not come up (where this part plays them)",
}

type faults struct {
	service *simulator.Service
	server  *server

	mu     sync.Mutex
	set    faultSet
	healed chan struct{} // closed when another set is put
	calls  map[string]int
}

// taskNames are the methods whose tasks can be delayed or fail, with the simulator's names for the tasks.
var taskNames = map[string]string{
	"CloneVM_Task": "CloneVm", "PowerOnVM_Task": "PowerOn", "PowerOffVM_Task": "PowerOff",
	"Destroy_Task": "Destroy", "ReconfigVM_Task": "ReconfigVm", "CustomizeVM_Task": "CustomizeVm",
}

func newFaults(service *simulator.Service) *faults {
	f := &faults{service: service, healed: make(chan struct{}), calls: map[string]int{}}
	setTaskSeconds(nil)
	return f
}

// setTaskSeconds replaces the map as a whole: running tasks read it without a lock. LockHandoff 0 lets tasks of one object wait
// side by side (facts/vsphere.md, "Getting the simulator").
func setTaskSeconds(times map[string]float64) {
	delays := map[string]int{"LockHandoff": 0}
	for method, time := range times {
		delays[taskNames[method]] = int(seconds(time).Milliseconds())
	}
	simulator.TaskDelay.MethodDelay = delays
}

// put replaces the whole set, or returns what is wrong with it.
func (f *faults) put(text []byte) error {
	var set faultSet
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		return err
	}
	methods := f.methods()
	for _, one := range set.Calls {
		if err := one.check([]string{"delay", "hang", "drop", "lose", "fault"}, append(methods, "*")); err != nil {
			return err
		}
	}
	names := keys(taskNames)
	for _, one := range set.Tasks {
		if err := one.check([]string{"hang", "late", "fault"}, names); err != nil {
			return err
		}
	}
	for method := range set.TaskSeconds {
		if !slices.Contains(names, method) {
			return fmt.Errorf("taskSeconds: unknown task %q; known: %s", method, strings.Join(names, ", "))
		}
	}

	f.mu.Lock()
	f.set = set
	close(f.healed)
	f.healed = make(chan struct{})
	setTaskSeconds(set.TaskSeconds)
	f.mu.Unlock()
	if set.Down {
		f.server.down()
		return nil
	}
	return f.server.up()
}

func (r *rule) check(effects, methods []string) error {
	if !slices.Contains(methods, r.Method) {
		return fmt.Errorf("unknown method %q; known: %s", r.Method, strings.Join(methods, ", "))
	}
	if !slices.Contains(effects, r.Effect) {
		return fmt.Errorf("%s: unknown effect %q; known: %s", r.Method, r.Effect, strings.Join(effects, ", "))
	}
	if _, err := path.Match(r.Entity, ""); err != nil {
		return fmt.Errorf("%s: entity %q: %w", r.Method, r.Entity, err)
	}
	if r.Effect != "fault" {
		return nil
	}
	if r.newFault() == nil {
		return fmt.Errorf("%s: fault %q is not a fault type of the vSphere API (InsufficientResourcesFault, NoDiskSpace, ...)", r.Method, r.Fault)
	}
	if r.Message == "" {
		r.Message = r.Fault + " injected by the lab"
	}
	return nil
}

// newFault makes an empty fault of the rule's type, nil if there is no such type.
func (r *rule) newFault() types.BaseMethodFault {
	kind, ok := types.TypeFunc()(r.Fault)
	if !ok {
		return nil
	}
	fault, _ := reflect.New(kind).Interface().(types.BaseMethodFault)
	return fault
}

// take says whether the rule hits this call, and counts it.
func (r *rule) take(c call, objectName func(types.ManagedObjectReference) string) bool {
	if r.Method != "*" && r.Method != c.method {
		return false
	}
	if r.Entity != "" {
		object, _ := path.Match(r.Entity, objectName(c.this))
		named, _ := path.Match(r.Entity, c.named)
		if !object && !named {
			return false
		}
	}
	if r.Skip > 0 {
		r.Skip--
		return false
	}
	if r.Count > 0 && r.Hits >= r.Count {
		return false
	}
	r.Hits++
	return true
}

// onCall counts the call; returns the general latency, the rule that hits it (or nil), and what closes when the set is replaced.
func (f *faults) onCall(c call) (time.Duration, *rule, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[c.method]++
	for _, one := range f.set.Calls {
		if one.take(c, f.name) {
			return seconds(f.set.Latency), one, f.healed
		}
	}
	return seconds(f.set.Latency), nil, f.healed
}

// onTask returns the rule that hits this task, or nil.
func (f *faults) onTask(c call) (*rule, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.set.Tasks {
		if one.take(c, f.name) {
			return one, f.healed
		}
	}
	return nil, f.healed
}

// neverBoots says whether the guest named so is to stay at its boot screen.
func (f *faults) neverBoots(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.set.NeverBoot, func(glob string) bool {
		hit, _ := path.Match(glob, name)
		return hit
	})
}

// name of an inventory object; empty for anything else.
func (f *faults) name(ref types.ManagedObjectReference) string {
	if entity, ok := f.service.Context.Map.Get(ref).(mo.Entity); ok {
		return entity.Entity().Name
	}
	return ""
}

// methods that the simulator knows.
func (f *faults) methods() []string {
	answer := httptest.NewRecorder()
	f.service.About(answer, nil)
	var about struct {
		Methods []string `json:"methods"`
	}
	_ = json.Unmarshal(answer.Body.Bytes(), &about)
	return about.Methods
}

func (f *faults) document() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return json.Marshal(f.set)
}

func keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
