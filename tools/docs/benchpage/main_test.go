package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPage writes the page of synthetic runs and peers.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := file("shapes-cpu.jsonl", `{"kernel":"matmul","case":"m=256/k=256/n=256/batch=1","work":"squares","device":"cpu","calls_per_step":1,"us":200,"us_min":100,"gflops":83.9,"roofline":0.9,"bound":"compute"}
{"kernel":"add","case":"n=3","work":"train","device":"cpu","calls_per_step":3,"us":10,"us_min":10,"gb_per_s":5,"roofline":0.5,"bound":"memory","checked":"shape"}
{"kernel":"copy","case":"n=4","work":"train+decode","device":"cpu","calls_per_step":1,"us":10,"us_min":10,"roofline":0.25,"bound":"memory"}
{"kernel":"copy","case":"n=5","work":"train","device":"cpu","skipped":"too long"}
`)
	peer := file("peer.jsonl", `{"bench":"matmul","m":256,"ms":0.4,"ms_min":0.2,"tflops":0.0925}`+"\n")
	interleaved := file("interleaved.jsonl", `{"bench":"peer","peer":"Other","device":"cpu","work":"tiny train","kernel":"matmul","case":"m=4/n=4/k=4","variant":"wide","gflops":12,"peer_gflops":3,"ratio":4}
{"bench":"peer","peer":"Other","device":"cpu","work":"tiny train","kernel":"matmul","case":"m=8/n=4/k=4","gflops":6,"peer_gflops":6,"ratio":1}
{"bench":"peer","peer":"Other","device":"cpu","work":"tiny decode","kernel":"matmul","case":"m=1/n=4/k=4","skipped":"does not take it"}
`)
	var page strings.Builder
	if err := write(&page, []string{"Peer=" + peer, "Other=" + interleaved, ""}, "it was quiet.", []string{run}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| size | cpu | Peer |\n|---|---|---|\n| 256³ | 168 | 185 |\n| 512³ | – | – |",
		"- The machine: it was quiet.",
		"| tiny train | matmul | m=4 n=4 k=4 | wide | 12 | 3.00 | 4.00 |",
		"| matmul, tiny train | 2 | 2.00 |", "1 cases were skipped",
		"| add | n=3 | plain | 10.0 | 10.0 | – | 5.00 | 50 %, memory | 75.0 % | shape |",
		"| copy | n=4 | plain |", "25.0 %", "4 cases, of which 1 were skipped",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is missing from\n%s", want, page.String())
		}
	}
	for _, bad := range []string{file("bad-cpu.jsonl", "{"), file("empty-cpu.jsonl", ""), filepath.Join(dir, "nowhere")} {
		if err := write(&page, nil, "", []string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
		if err := write(&page, []string{"Peer=" + bad}, "", []string{run}); err == nil {
			t.Errorf("%s was accepted as a peer's", bad)
		}
	}
}
