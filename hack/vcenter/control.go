package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strconv"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// control is the loopback port of tests and of the parts that play the guests; hack/lab/vcenter.py documents it.
type control struct {
	service *simulator.Service
	server  *server
	faults  *faults
	guests  *guests
}

func (c *control) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.status)
	mux.HandleFunc("GET /faults", c.getFaults)
	mux.HandleFunc("PUT /faults", c.putFaults)
	mux.HandleFunc("GET /vms", c.vms)
	mux.HandleFunc("PUT /vms/{moRef}/guest", c.putGuest)
	mux.HandleFunc("PUT /certificate", c.putCertificate)
	mux.HandleFunc("POST /sessions/expire", c.expireSessions)
	return mux
}

func (c *control) status(w http.ResponseWriter, _ *http.Request) {
	c.faults.mu.Lock()
	calls := make(map[string]int, len(c.faults.calls))
	for method, n := range c.faults.calls {
		calls[method] = n
	}
	c.faults.mu.Unlock()
	c.server.mu.Lock()
	up := c.server.http != nil
	c.server.mu.Unlock()
	answer(w, map[string]any{"up": up, "url": c.server.url(), "calls": calls})
}

func (c *control) getFaults(w http.ResponseWriter, _ *http.Request) {
	text, err := c.faults.document()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, json.RawMessage(text))
}

func (c *control) putFaults(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = c.faults.put(text)
	}
	if err != nil {
		refuse(w, err.Error())
		return
	}
	log.Printf("faults: %s", text)
	c.getFaults(w, r)
}

func (c *control) vms(w http.ResponseWriter, r *http.Request) {
	since, err := strconv.ParseInt(r.FormValue("since"), 10, 64)
	if err != nil {
		since = -1
	}
	patience, _ := strconv.ParseFloat(r.FormValue("wait"), 64)
	version, machines := c.guests.list(since, seconds(patience), r.Context().Done())
	answer(w, map[string]any{"version": version, "vms": machines})
}

func (c *control) putGuest(w http.ResponseWriter, r *http.Request) {
	var state guestState
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&state); err != nil {
		refuse(w, err.Error())
		return
	}
	if !c.guests.set(r.PathValue("moRef"), state) {
		http.Error(w, "no such VM, or it is not powered on", http.StatusConflict)
		return
	}
	answer(w, map[string]any{})
}

func (c *control) putCertificate(w http.ResponseWriter, r *http.Request) {
	var body struct{ Certificate, PrivateKey string }
	err := json.NewDecoder(r.Body).Decode(&body)
	if err == nil {
		pair, bad := keyPair(body.Certificate, body.PrivateKey)
		if err = bad; err == nil {
			err = c.server.present(pair)
		}
	}
	if err != nil {
		refuse(w, err.Error())
		return
	}
	answer(w, map[string]any{})
}

// expireSessions ends every session: the next call of each client gets NotAuthenticated.
func (c *control) expireSessions(w http.ResponseWriter, r *http.Request) {
	expired, err := c.expire(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]int{"expired": expired})
}

func (c *control) expire(ctx context.Context) (int, error) {
	client, err := vim25.NewClient(ctx, c.service)
	if err != nil {
		return 0, err
	}
	var manager mo.SessionManager
	ref := *client.ServiceContent.SessionManager
	if err := property.DefaultCollector(client).RetrieveOne(ctx, ref, []string{"sessionList"}, &manager); err != nil {
		return 0, err
	}
	expired := 0
	for _, session := range manager.SessionList {
		request := &types.TerminateSession{This: ref, SessionId: []string{session.Key}}
		_, err := methods.TerminateSession(ctx, client, request)
		if fault.Is(err, &types.NotFound{}) {
			continue // its client logged out meanwhile
		}
		if err != nil {
			return expired, err
		}
		expired++
	}
	return expired, nil
}

func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": reason, "known": knownFaults})
}

func answer(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(document); err != nil {
		log.Printf("answering: %v", err)
	}
}
