package main

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
)

// plainly is what an error says, with the system's and the JSON reader's own words
// replaced by what they mean to a user.
func plainly(err error) string {
	text := err.Error()
	for _, say := range []func(error) (was, is string){plainPath, plainLink, plainNet, plainJSON} {
		if was, is := say(err); was != "" {
			text = strings.Replace(text, was, is, 1)
		}
	}
	return strings.Replace(text, "json: unknown field", "unknown setting", 1) // an error without a type
}

func plainPath(err error) (was, is string) {
	var e *fs.PathError
	if !errors.As(err, &e) {
		return "", ""
	}
	reason := plainReason(e.Err)
	if reason == "" {
		return "", ""
	}
	if dir, name := filepath.Split(e.Path); name == "config.json" && dir != "" && errors.Is(err, fs.ErrNotExist) {
		return e.Error(), filepath.Clean(dir) + " holds no model: there is no config.json in it; name a model's folder"
	}
	return e.Error(), e.Path + ": " + reason
}

func plainLink(err error) (was, is string) {
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

// plainReason says what to do about the mistakes with files that are made most.
func plainReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file or folder; check the path"
	case errors.Is(err, fs.ErrPermission):
		return "this user has no permission; change it, or take another path"
	case errors.Is(err, syscall.EISDIR):
		return "is a folder; name a file"
	case errors.Is(err, syscall.ENOTDIR):
		return "is a file, or lies below one; name a folder"
	}
	return ""
}

// plainNet tells of addresses that cannot be listened at or reached.
func plainNet(err error) (was, is string) {
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
		return op.Error(), op.Addr.String() + " needs another user's permission; ports above 1023 do not"
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

func plainJSON(err error) (was, is string) {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Error(), fmt.Sprintf("is no JSON from byte %d on", syntax.Offset)
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
