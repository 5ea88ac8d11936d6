package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

var errDamagedLZ4 = errors.New("a damaged LZ4 page")

// checkLZ4 unpacks every page of a column chunk compressed by LZ4 and throws
// the bytes away. parquet-go takes any error of that codec for a buffer too
// small and doubles the buffer until memory is gone, so damaged pages must not
// reach it.
func checkLZ4(file io.ReaderAt, chunk *format.ColumnMetaData) error {
	if chunk.Codec != format.Lz4Raw {
		return nil
	}
	start := chunk.DataPageOffset
	if d := chunk.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	pages := bufio.NewReader(io.NewSectionReader(file, start, chunk.TotalCompressedSize))
	decoder := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(pages))
	var packed, unpacked []byte
	for {
		if _, err := pages.Peek(1); err == io.EOF {
			return nil
		}
		var header format.PageHeader
		if err := decoder.Decode(&header); err != nil {
			return fmt.Errorf("a damaged page header: %w", err)
		}
		n, size := int64(header.CompressedPageSize), int64(header.UncompressedPageSize)
		if n < 0 || n > chunk.TotalCompressedSize || size < 0 || size > 255*n+64 { // LZ4 packs at most 255 bytes into one
			return errDamagedLZ4
		}
		packed, unpacked = sized(packed, n), sized(unpacked, size)
		if _, err := io.ReadFull(pages, packed); err != nil {
			return err
		}
		if !unpacks(packed, unpacked, &header) {
			return errDamagedLZ4
		}
	}
}

// unpacks tells whether a page fills the buffer. In pages of version 2 the
// levels come first, and are not compressed.
func unpacks(packed, unpacked []byte, header *format.PageHeader) bool {
	if v2 := header.DataPageHeaderV2; v2.Valid {
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if levels < 0 || levels > int64(min(len(packed), len(unpacked))) {
			return false
		}
		packed, unpacked = packed[levels:], unpacked[levels:]
		if compressed := v2.V.IsCompressed; compressed.Valid && !compressed.V {
			return len(packed) == len(unpacked)
		}
	}
	n, err := lz4.UncompressBlock(packed, unpacked)
	return err == nil && n == len(unpacked)
}

// sized returns b with n bytes, a new one where it is too small.
func sized(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}
