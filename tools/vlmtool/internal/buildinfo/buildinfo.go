// Package buildinfo reports what the binary was built from.
package buildinfo

import (
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// make dist sets these by -ldflags -X; otherwise they come from Go's build information,
// which a build in a clone has.
var (
	version string // git describe
	commit  string
	date    string // of the commit, RFC 3339
	dirty   string // "true" where files differed from the commit
)

// Info is what the binary was built from.
type Info struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"` // "" where it is unknown
	Time     string   `json:"time"`   // of the commit
	Dirty    bool     `json:"dirty"`  // files differed from the commit
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Tags     []string `json:"tags"`
	Cgo      bool     `json:"cgo"`
}

// Read is the binary's build information.
func Read() Info {
	i := Info{Version: version, Commit: commit, Time: date, Dirty: dirty == "true", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Tags: []string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return i
	}
	stamped := i.Version == ""
	if stamped {
		i.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-tags":
			i.Tags = strings.Split(s.Value, ",")
		case s.Key == "CGO_ENABLED":
			i.Cgo = s.Value == "1"
		case stamped && s.Key == "vcs.revision":
			i.Commit = s.Value
		case stamped && s.Key == "vcs.time":
			i.Time = s.Value
		case stamped && s.Key == "vcs.modified":
			i.Dirty = s.Value == "true"
		}
	}
	return i
}

// Version is one line with version, commit and Go's version; runs record it.
func Version() string {
	i := Read()
	v := i.Version
	if v == "" {
		v = "unknown"
	}
	if i.Commit != "" && !strings.Contains(v, i.Commit[:min(8, len(i.Commit))]) {
		v += " " + i.Commit[:min(12, len(i.Commit))]
	}
	return v + " " + i.Go
}

// CommitTime is the time of the commit; the zero time where it is unknown.
func CommitTime() time.Time {
	t, err := time.Parse(time.RFC3339, Read().Time)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
