// Package errtext turns a command's error into the line that its user reads.
package errtext

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"patchwork/tools/vlmtool/internal/terminal"
)

// Line is the error as one line that is safe for a terminal.
func Line(err error) string {
	return terminal.Printable(strings.Join(strings.FieldsFunc(plainly(err), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

// plainly is the error's text with messages of the system, the network and the JSON
// reader rewritten for a user.
func plainly(err error) string {
	text := err.Error()
	for _, rewrite := range []func(error) (old, new string){plainPath, plainLink, plainNet, plainJSON} {
		if old, new := rewrite(err); old != "" {
			text = strings.Replace(text, old, new, 1)
		}
	}
	return strings.Replace(text, "json: unknown field", "unknown setting", 1) // it has no type
}

func plainPath(err error) (old, new string) {
	var e *fs.PathError
	if !errors.As(err, &e) {
		return "", ""
	}
	reason := plainReason(e.Err)
	if reason == "" {
		return "", ""
	}
	if dir, name := filepath.Split(e.Path); name == "config.json" && dir != "" && errors.Is(err, fs.ErrNotExist) {
		return e.Error(), filepath.Clean(dir) + ": no model here, config.json is missing; name a model's folder"
	}
	return e.Error(), e.Path + ": " + reason
}

func plainLink(err error) (old, new string) {
	var e *os.LinkError
	if !errors.As(err, &e) {
		return "", ""
	}
	reason := plainReason(e.Err)
	if reason == "" {
		return "", ""
	}
	return e.Error(), fmt.Sprintf("renaming %s to %s: %s", e.Old, e.New, reason)
}

// plainReason is a reason and what to do about it, for the usual mistakes with files.
func plainReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file or folder; check the path"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied; change the permissions or use another path"
	case errors.Is(err, syscall.EISDIR):
		return "is a folder; name a file"
	case errors.Is(err, syscall.ENOTDIR):
		return "is a file, or inside one; name a folder"
	}
	return ""
}

// plainNet rewrites errors about addresses that cannot be listened on or reached.
func plainNet(err error) (old, new string) {
	var request *url.Error
	var op *net.OpError
	switch {
	case errors.As(err, &request):
		host := request.URL
		if u, err := url.Parse(request.URL); err == nil {
			host = u.Host
		}
		return request.Error(), fmt.Sprintf("%s cannot be reached (%v); check the network, or HF_ENDPOINT", host, cause(request))
	case !errors.As(err, &op) || op.Op != "listen":
		return "", ""
	case errors.Is(op, syscall.EADDRINUSE):
		return op.Error(), op.Addr.String() + " is in use"
	case errors.Is(op, fs.ErrPermission):
		return op.Error(), op.Addr.String() + " is not permitted to this user; use a port above 1023"
	}
	return "", ""
}

// cause is the innermost error.
func cause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

func plainJSON(err error) (old, new string) {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Error(), fmt.Sprintf("is not valid JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		want := map[string]string{"int": "a whole number", "uint64": "a whole number, 0 or above", "float64": "a number", "string": "text in quotes", "bool": "true or false"}[kind.Type.String()]
		if want == "" {
			want = "something else"
		}
		return kind.Error(), fmt.Sprintf("%q is a %s, want %s", kind.Field, kind.Value, want)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF.Error(), "the file ends too early"
	}
	return "", ""
}
