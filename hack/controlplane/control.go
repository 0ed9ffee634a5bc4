package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"time"
)

// serveControl opens the control port of hack/lab/README.md. No faults are known here: what a broken API server does to the
// operator is tried by ending this process or stopping it (SIGSTOP), which needs no help from inside.
func serveControl(ready record, began time.Time) (net.Listener, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"server": ready.Server, "version": ready.Version, "data": ready.Data, "fsync": ready.Fsync,
			"pid": os.Getpid(), "uptimeSeconds": int(time.Since(began).Seconds()),
		})
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{})
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var wanted map[string]any
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&wanted)
		if err != nil || len(wanted) != 0 {
			answer(w, http.StatusBadRequest, map[string]any{"error": "unknown fault", "known": []string{}})
			return
		}
		answer(w, http.StatusOK, map[string]any{})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return listener, nil
}
