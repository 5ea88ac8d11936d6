package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// What a row group may take unpacked: some bytes for every byte in the file, and
// some in any case. Photographs hardly compress, texts some five times, drawings that are
// stored as BMP twenty times and more; what goes far beyond was made to fill the memory.
const (
	unpackedBytes   = 160 << 20
	unpackedPerByte = 40

	// valueBytes is what a value takes besides its own bytes: its levels, its place
	// in the dictionary, slices and strings.
	valueBytes = 64
)

// An allowance is the memory that a row group may still take.
type byteBudget struct{ left, all int64 }

func newByteBudget(packed int64) *byteBudget {
	n := min(unpackedBytes+unpackedPerByte*packed, maxGroupBytes)
	return &byteBudget{n, n}
}

func (a *byteBudget) take(n int64) error {
	if n < 0 || n > a.left {
		return fmt.Errorf("it takes more than %d MB unpacked, too much for its size in the file%s", a.all>>20, smallerGroupsHint)
	}
	a.left -= n
	return nil
}

// smallerGroups is the way out where a row group is too large for what is read at once.
const smallerGroupsHint = ": write it anew in smaller row groups, for example by python3 -c " +
	"\"import pyarrow.parquet as p; p.write_table(p.read_table('IN.parquet'), 'OUT.parquet', row_group_size=100)\""

var errDamagedPage = errors.New("a damaged page")

// checkPages walks through the pages of a column chunk before parquet-go does, which
// believes what they say of their sizes: it makes room for as many values as a header
// counts and unpacks whatever comes out. Pages whose headers do not hold are refused,
// and so are those that ask for more than a has left, in bounded memory.
//
// Compressed pages but those of Snappy, which begin with their length, are unpacked
// here once more than needed. That is quick beside decoding the pictures in them.
func checkPages(file io.ReaderAt, size int64, chunk *format.ColumnMetaData, a *byteBudget) error {
	start := chunk.DataPageOffset
	if d := chunk.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	if start < 0 || chunk.TotalCompressedSize < 0 || start > size-chunk.TotalCompressedSize {
		return errors.New("the footer is damaged: a column lies outside the file")
	}
	pages := bufio.NewReader(io.NewSectionReader(file, start, chunk.TotalCompressedSize))
	decoder := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(pages))
	for {
		if _, err := pages.Peek(1); err == io.EOF {
			return nil
		}
		var header format.PageHeader
		if err := decoder.Decode(&header); err != nil {
			return fmt.Errorf("a damaged page header: %w", err)
		}
		n, unpacked, count := int64(header.CompressedPageSize), int64(header.UncompressedPageSize), valuesOf(&header)
		if n < 0 || n > chunk.TotalCompressedSize || unpacked < 0 || count < 0 {
			return errDamagedPage
		}
		if err := a.take(unpacked + valueBytes*count); err != nil {
			return err
		}
		packed := io.LimitReader(pages, n)
		if err := checkPage(packed, chunk.Codec, &header); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, packed); err != nil {
			return err
		}
	}
}

// valuesOf is the number of values a page says it has.
func valuesOf(h *format.PageHeader) int64 {
	switch {
	case h.DataPageHeader.Valid:
		return int64(h.DataPageHeader.V.NumValues)
	case h.DataPageHeaderV2.Valid:
		return int64(h.DataPageHeaderV2.V.NumValues)
	case h.DictionaryPageHeader.Valid:
		return int64(h.DictionaryPageHeader.V.NumValues)
	}
	return 0
}

// checkPage tells whether a page unpacks to as many bytes as its header says. In
// pages of version 2 the levels come first, and are not compressed.
func checkPage(packed io.Reader, codec format.CompressionCodec, header *format.PageHeader) error {
	n, unpacked := int64(header.CompressedPageSize), int64(header.UncompressedPageSize)
	if v2 := header.DataPageHeaderV2; v2.Valid {
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if levels < 0 || levels > min(n, unpacked) {
			return errDamagedPage
		}
		n, unpacked = n-levels, unpacked-levels
		if compressed := v2.V.IsCompressed; compressed.Valid && !compressed.V {
			codec = format.Uncompressed
		}
		if _, err := io.CopyN(io.Discard, packed, levels); err != nil {
			return errDamagedPage
		}
	}
	if n == 0 && unpacked == 0 {
		return nil
	}
	got, err := unpack(packed, codec, n, unpacked)
	if err != nil {
		return fmt.Errorf("%w: %w", errDamagedPage, err)
	}
	if got != unpacked {
		return errDamagedPage
	}
	return nil
}

// unpack returns how many bytes come out of n packed ones, and stops where there
// are more than most.
func unpack(packed io.Reader, codec format.CompressionCodec, n, most int64) (int64, error) {
	var r io.Reader
	switch codec {
	case format.Uncompressed:
		return n, nil
	case format.Snappy:
		return snappyLength(packed)
	case format.Lz4Raw:
		return unpackLZ4(packed, n, most)
	case format.Gzip:
		z, err := gzip.NewReader(packed)
		if err != nil {
			return 0, err
		}
		r = z
	case format.Brotli:
		r = brotli.NewReader(packed)
	case format.Zstd:
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		r = z
	default:
		return most, nil // parquet-go does not read it
	}
	return io.Copy(io.Discard, io.LimitReader(r, most+1))
}

// maxWindow bounds the memory that a page in Zstandard asks for.
const maxWindow = 64 << 20

func snappyLength(packed io.Reader) (int64, error) {
	const longest = 10 // bytes of a varint
	var head bytes.Buffer
	if _, err := io.CopyN(&head, packed, longest); err != nil && err != io.EOF {
		return 0, err
	}
	n, err := snappy.DecodedLen(head.Bytes())
	return int64(n), err
}

func unpackLZ4(packed io.Reader, n, most int64) (int64, error) {
	if most > 255*n+64 { // LZ4 packs at most 255 bytes into one
		return 0, errDamagedPage
	}
	source, unpacked := make([]byte, n), make([]byte, most)
	if _, err := io.ReadFull(packed, source); err != nil {
		return 0, err
	}
	got, err := lz4.UncompressBlock(source, unpacked)
	return int64(got), err
}
