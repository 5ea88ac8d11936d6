//go:build linux || darwin || freebsd

package mpi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is an MPI library with the functions that are used. They are called from one thread.
type library struct {
	version string // "Open MPI v4.1.4"
	abi     abi

	init, abort, finalize, commRank, commSize, setErrhandler uintptr
	isend, irecv, test, iprobe, cancel                       uintptr
	getCount, errorString, libraryVersion, recv              uintptr
}

// abi is what differs between MPI libraries: the values of handles and constants, and the place of
// the source in a status. Pointers and integers as handles are passed in the same registers.
type abi struct {
	name                       string
	files                      []string
	world, bytes, returnErrors handle
	anySource                  int
	sourceAt                   int // bytes
}

// handle is a constant or, in Open MPI, the address of a symbol.
type handle struct {
	value  uintptr
	symbol string
}

// abis are the ABIs in the order in which they are looked for. Sources: mpi_abi.h of MPI 5.0's
// chapter 20, mpi.h of Open MPI 4 and MPICH 4. A library of MPI 5's ABI is preferred, because it
// works with more launchers.
var abis = []abi{
	{
		name: "MPI 5", files: libraryFiles("mpi_abi", "1", "0"),
		world: handle{value: 0x101}, bytes: handle{value: 0x247}, returnErrors: handle{value: 0x143}, anySource: -1,
	},
	{
		name: "Open MPI", files: libraryFiles("mpi", "40"),
		world: handle{symbol: "ompi_mpi_comm_world"}, bytes: handle{symbol: "ompi_mpi_byte"}, returnErrors: handle{symbol: "ompi_mpi_errors_return"}, anySource: -1,
	},
	{
		name: "MPICH", files: append(libraryFiles("mpi", "12"), libraryFiles("mpich", "12")...),
		world: handle{value: 0x44000000}, bytes: handle{value: 0x4c00010d}, returnErrors: handle{value: 0x54000001}, anySource: -2, sourceAt: 8,
	},
}

// libraryFiles are the file names of a library's versions on this system.
func libraryFiles(name string, versions ...string) (files []string) {
	for _, v := range versions {
		if runtime.GOOS == "darwin" {
			files = append(files, "lib"+name+"."+v+".dylib")
		} else {
			files = append(files, "lib"+name+".so."+v)
		}
	}
	return files
}

const getMPI = "install Open MPI 4 or 5 (Debian: apt-get install libopenmpi3), MPICH 4 or 5, or another library with MPI 5's ABI, or name its folder in LD_LIBRARY_PATH"

// openLibrary opens the MPI library that fits the launcher, otherwise any.
func openLibrary() (*library, error) {
	var opened []*library
	var problems []string
	for _, a := range abis {
		for _, file := range a.files {
			lib, err := openFile(a, file)
			if err == nil {
				opened = append(opened, lib)
				break
			}
			if text := err.Error(); !strings.Contains(text, "No such file") && !strings.Contains(text, "no such file") {
				problems = append(problems, text)
			}
		}
		// Open MPI's symbols and MPICH's have the same names, so the second library is not opened
		// beside the first without need.
		if len(opened) > 0 && opened[len(opened)-1].fitsLauncher() {
			return opened[len(opened)-1], nil
		}
	}
	if len(opened) > 0 {
		return opened[0], nil
	}
	const started = "this process was started as a part of an MPI job"
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s, but its MPI library cannot be used: %s; %s", started, strings.Join(problems, "; "), getMPI)
	}
	return nil, fmt.Errorf("%s, but there is no MPI library: %s", started, getMPI)
}

// fitsLauncher reports whether the launcher's environment is that of the library's own.
func (l *library) fitsLauncher() bool {
	openMPI := os.Getenv("OMPI_COMM_WORLD_SIZE") != ""
	hydra := os.Getenv("PMI_RANK") != "" && os.Getenv("PMIX_RANK") == ""
	isOpenMPI := strings.HasPrefix(l.version, "Open MPI")
	return !openMPI && !hydra || openMPI && isOpenMPI || hydra && !isOpenMPI
}

// openFile opens a library file.
func openFile(a abi, file string) (*library, error) {
	// The components that Open MPI opens itself need its symbols to be global.
	lib, err := purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	l := &library{abi: a}
	for name, to := range map[string]*uintptr{
		"MPI_Init_thread": &l.init, "MPI_Abort": &l.abort, "MPI_Finalize": &l.finalize,
		"MPI_Comm_rank": &l.commRank, "MPI_Comm_size": &l.commSize, "MPI_Comm_set_errhandler": &l.setErrhandler,
		"MPI_Isend": &l.isend, "MPI_Irecv": &l.irecv, "MPI_Recv": &l.recv, "MPI_Test": &l.test, "MPI_Iprobe": &l.iprobe,
		"MPI_Cancel": &l.cancel, "MPI_Get_count": &l.getCount,
		"MPI_Error_string": &l.errorString, "MPI_Get_library_version": &l.libraryVersion,
		a.world.symbol: &l.abi.world.value, a.bytes.symbol: &l.abi.bytes.value, a.returnErrors.symbol: &l.abi.returnErrors.value,
	} {
		if name == "" {
			continue
		}
		if *to, err = purego.Dlsym(lib, name); err != nil {
			return nil, fmt.Errorf("%s has no %s, so it is no library of %s's ABI", file, name, a.name)
		}
	}
	l.version = l.readVersion()
	return l, nil
}

// maxString is at least as large as the buffers for strings that MPI asks for.
const maxString = 8192

// readVersion returns the start of the library's description of itself. It may be called before
// init.
func (l *library) readVersion() string {
	text := make([]byte, maxString)
	var n int32
	purego.SyscallN(l.libraryVersion, uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&n)))
	first, _, _ := strings.Cut(cString(text), ",")
	first, _, _ = strings.Cut(first, "\n")
	return cmp.Or(strings.Join(strings.Fields(first), " "), l.abi.name)
}

func cString(text []byte) string {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	return string(text)
}

// call calls a function that returns an error code.
func (l *library) call(f uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(f, args...)
	if code := int32(r); code != 0 {
		return errors.New(l.describe(code))
	}
	return nil
}

func (l *library) describe(code int32) string {
	text := make([]byte, maxString)
	var n int32
	purego.SyscallN(l.errorString, uintptr(code), uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&n)))
	return cmp.Or(strings.Join(strings.Fields(cString(text)), " "), fmt.Sprintf("MPI error %d", code))
}

// join initialises the library and returns this process's rank and the number of ranks.
func (l *library) join() (rank, size int, err error) {
	handlers := saveSignals()
	var provided int32
	// MPI_THREAD_FUNNELED is 1 or, in MPI 5's ABI, 1024. Only this thread calls MPI.
	funneled := uintptr(1)
	if l.abi.name == abis[0].name {
		funneled = 1024
	}
	if err := l.call(l.init, 0, 0, funneled, uintptr(unsafe.Pointer(&provided))); err != nil {
		return 0, 0, err
	}
	// Open MPI handles SIGSEGV and others itself, without Go's alternate stack.
	handlers.restore()
	world := l.abi.world.value
	if err := l.call(l.setErrhandler, world, l.abi.returnErrors.value); err != nil {
		return 0, 0, err
	}
	var r, n int32
	err = errors.Join(
		l.call(l.commRank, world, uintptr(unsafe.Pointer(&r))),
		l.call(l.commSize, world, uintptr(unsafe.Pointer(&n))))
	return int(r), int(n), err
}

// status holds an MPI_Status, which has at most 40 bytes.
type status [64]byte

func (l *library) source(s *status) int {
	return int(*(*int32)(unsafe.Pointer(&s[l.abi.sourceAt])))
}

// count is the number of bytes received.
func (l *library) count(s *status) int {
	var n int32
	if l.call(l.getCount, uintptr(unsafe.Pointer(s)), l.abi.bytes.value, uintptr(unsafe.Pointer(&n))) != nil {
		return -1
	}
	return int(n)
}

// request is an MPI_Request: 4 or 8 bytes.
type request [8]byte

func (l *library) startSend(r *request, peer, tag int, data []byte) error {
	return l.call(l.isend, uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), l.abi.bytes.value,
		uintptr(peer), uintptr(tag), l.abi.world.value, uintptr(unsafe.Pointer(r)))
}

func (l *library) startReceive(r *request, peer, tag int, data []byte) error {
	return l.call(l.irecv, uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), l.abi.bytes.value,
		uintptr(peer), uintptr(tag), l.abi.world.value, uintptr(unsafe.Pointer(r)))
}

// testEnd reports whether a request has ended.
func (l *library) testEnd(r *request, s *status) (bool, error) {
	var flag int32
	err := l.call(l.test, uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(&flag)), uintptr(unsafe.Pointer(s)))
	return flag != 0 || err != nil, err
}

// probe reports whether a message of a tag has arrived, from any rank.
func (l *library) probe(tag int, s *status) (bool, error) {
	var flag int32
	err := l.call(l.iprobe, uintptr(l.abi.anySource), uintptr(tag), l.abi.world.value, uintptr(unsafe.Pointer(&flag)), uintptr(unsafe.Pointer(s)))
	return flag != 0 && err == nil, err
}

// receiveNow receives a message that a probe has found.
func (l *library) receiveNow(tag int, s *status) (from int, data []byte, err error) {
	from = l.source(s)
	data = make([]byte, max(0, l.count(s)), max(1, l.count(s)))
	err = l.call(l.recv, uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), l.abi.bytes.value,
		uintptr(from), uintptr(tag), l.abi.world.value, uintptr(unsafe.Pointer(s)))
	return from, data, err
}

// signalHandlers are the actions of signals, as sigaction(2) tells them.
type signalHandlers struct {
	sigaction uintptr
	actions   map[int]*[256]byte
}

// handledByGo are the signals that a fault raises, which Go turns into panics.
var handledByGo = []int{6, 7, 8, 10, 11}

func saveSignals() signalHandlers {
	h := signalHandlers{actions: map[int]*[256]byte{}}
	var err error
	if h.sigaction, err = purego.Dlsym(purego.RTLD_DEFAULT, "sigaction"); err != nil {
		return h
	}
	for _, n := range slices.Clone(handledByGo) {
		action := &[256]byte{}
		if r, _, _ := purego.SyscallN(h.sigaction, uintptr(n), 0, uintptr(unsafe.Pointer(action))); int32(r) == 0 {
			h.actions[n] = action
		}
	}
	return h
}

func (h signalHandlers) restore() {
	for n, action := range h.actions {
		purego.SyscallN(h.sigaction, uintptr(n), uintptr(unsafe.Pointer(action)), 0)
	}
}

// cancelRequest cancels a receive, which then ends unless its message is on its way.
func (l *library) cancelRequest(r *request) {
	l.call(l.cancel, uintptr(unsafe.Pointer(r))) // an error leaves the receive as it is
}

// exit ends the process. MPICH tells its launcher only in an exit handler of C that the process
// has left the job; os.Exit does not run those.
func (l *library) exit(code int) {
	if exit, err := purego.Dlsym(purego.RTLD_DEFAULT, "exit"); err == nil {
		purego.SyscallN(exit, uintptr(code))
	}
	os.Exit(code)
}
