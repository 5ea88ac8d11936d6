// Command localhub serves a folder as the data set owner/name of a hub on this machine, with the
// faults of a network, until it is interrupted:
//
//	go run ./tools/localhub --dir demo/data --cut 0.1
//	HF_ENDPOINT=http://127.0.0.1:PORT vlmtool train --data hf://datasets/owner/name/ --out run
package main

import (
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/pflag"

	"patchwork/tools/internal/localhub"
)

func main() {
	var f localhub.Faults
	dir := pflag.String("dir", ".", "folder to serve")
	token := pflag.String("token", "", "token that requests must have")
	for name, to := range map[string]*float64{"cut": &f.Cut, "stall": &f.Stall, "error": &f.Error, "limit": &f.Limit, "page": &f.Page, "shifted": &f.Shifted, "expired": &f.Expired} {
		pflag.Float64Var(to, name, 0, "fraction of requests that fail in this way; see localhub.Faults")
	}
	pflag.Parse()
	h := localhub.Start(*dir, *token)
	defer h.Close()
	h.SetFaults(f)
	fmt.Printf("HF_ENDPOINT=%s serves %s as hf://datasets/%s\n", h.Endpoint, *dir, localhub.Repo)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	requests, bytes, leaked := h.Served()
	fmt.Printf("%d requests for %d bytes; token sent to the storage: %v\n", requests, bytes, leaked)
}
