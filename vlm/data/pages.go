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

// The byte budget of a row group is unpackedBytes + unpackedPerByte for each compressed
// byte. Photographs hardly compress, text compresses about 5:1, drawings stored as BMP
// 20:1 and more. Far higher ratios are decompression bombs.
const (
	unpackedBytes   = 160 << 20
	unpackedPerByte = 40

	// valueBytes is the overhead of a value: levels, dictionary index, slice and string
	// headers.
	valueBytes = 64
)

// A byteBudget is the memory that a row group may still use when decompressed.
type byteBudget struct{ left, total int64 }

func newByteBudget(packed int64) *byteBudget {
	n := min(unpackedBytes+unpackedPerByte*packed, maxGroupBytes)
	return &byteBudget{n, n}
}

func (b *byteBudget) take(n int64) error {
	if n < 0 || n > b.left {
		return fmt.Errorf("more than %d MB when decompressed, too much for its size in the file%s", b.total>>20, smallerGroupsHint)
	}
	b.left -= n
	return nil
}

// smallerGroupsHint ends the error about a row group that is too large.
const smallerGroupsHint = ": rewrite it with smaller row groups, for example with python3 -c " +
	"\"import pyarrow.parquet as p; p.write_table(p.read_table('IN.parquet'), 'OUT.parquet', row_group_size=100)\""

var errDamagedPage = errors.New("damaged page")

// checkPages validates the pages of a column chunk before parquet-go reads them.
// parquet-go trusts page headers: it allocates for as many values as a header declares
// and decompresses without limit. checkPages, in bounded memory, rejects pages whose
// decompressed size differs from their header, and pages beyond the budget.
//
// Compressed pages are thereby decompressed twice, except Snappy's, which start with
// their length. That is fast compared with decoding their images.
func checkPages(file io.ReaderAt, size int64, chunk *format.ColumnMetaData, budget *byteBudget) error {
	start, length := chunkRange(chunk)
	if start < 0 || length < 0 || start > size-length {
		return errors.New("the footer is damaged: a column is outside the file")
	}
	pages := bufio.NewReader(io.NewSectionReader(file, start, length))
	decoder := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(pages))
	for {
		if _, err := pages.Peek(1); err == io.EOF {
			return nil
		}
		var header format.PageHeader
		if err := decoder.Decode(&header); err != nil {
			return fmt.Errorf("damaged page header: %w", err)
		}
		n, unpacked, count := int64(header.CompressedPageSize), int64(header.UncompressedPageSize), valuesOf(&header)
		if n < 0 || n > chunk.TotalCompressedSize || unpacked < 0 || count < 0 {
			return errDamagedPage
		}
		if err := budget.take(unpacked + valueBytes*count); err != nil {
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

// chunkRange returns where a column chunk lies in its file, in bytes.
func chunkRange(chunk *format.ColumnMetaData) (offset, length int64) {
	offset = chunk.DataPageOffset
	if d := chunk.DictionaryPageOffset; d > 0 && d < offset {
		offset = d
	}
	return offset, chunk.TotalCompressedSize
}

// valuesOf returns the number of values that a page header declares.
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

// checkPage checks that a page decompresses to the size in its header. In version 2
// pages the uncompressed levels come first.
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

// unpack returns the decompressed size of n packed bytes, or limit+1 if it is larger
// than limit.
func unpack(packed io.Reader, codec format.CompressionCodec, n, limit int64) (int64, error) {
	var r io.Reader
	switch codec {
	case format.Uncompressed:
		return n, nil
	case format.Snappy:
		return snappyLength(packed)
	case format.Lz4Raw:
		return unpackLZ4(packed, n, limit)
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
		return limit, nil // parquet-go does not read it
	}
	return io.Copy(io.Discard, io.LimitReader(r, limit+1))
}

// maxWindow limits the memory of a Zstandard decoder.
const maxWindow = 64 << 20

func snappyLength(packed io.Reader) (int64, error) {
	const maxVarint = 10 // bytes
	var head bytes.Buffer
	if _, err := io.CopyN(&head, packed, maxVarint); err != nil && err != io.EOF {
		return 0, err
	}
	n, err := snappy.DecodedLen(head.Bytes())
	return int64(n), err
}

func unpackLZ4(packed io.Reader, n, limit int64) (int64, error) {
	if limit > 255*n+64 { // LZ4 compresses 255:1 at most
		return 0, errDamagedPage
	}
	source, unpacked := make([]byte, n), make([]byte, limit)
	if _, err := io.ReadFull(packed, source); err != nil {
		return 0, err
	}
	got, err := lz4.UncompressBlock(source, unpacked)
	return int64(got), err
}
