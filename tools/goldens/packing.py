"""Packing of samples into rows by first fit."""

from files import read_json, write_json

ABOUT = """Samples arrive numbered from 0. One that is longer than knapsack_length is skipped; the others gather in a pool. When it holds
pool_size of them, and at the end, the pool is sorted by length, the longest first, equals in their order of arrival, and each
sample goes into the first row, in the order in which rows were opened, that has room for it, or opens another. The pool's rows
leave in that order in batches of max_batch_size, the last of them as it is; nothing stays for the next pool."""


def pack(lengths, pool_size, knapsack_length, max_batch_size):
    fitting = [i for i, n in enumerate(lengths) if n <= knapsack_length]
    batches = []
    for start in range(0, len(fitting), pool_size):
        rows = []
        for sample in sorted(fitting[start:start + pool_size], key=lengths.__getitem__, reverse=True):
            put(sample, rows, lengths, knapsack_length)
        batches += [rows[i:i + max_batch_size] for i in range(0, len(rows), max_batch_size)]
    return batches, sorted(set(range(len(lengths))) - set(fitting))


def put(sample, rows, lengths, capacity):
    for row in rows:
        if sum(lengths[s] for s in row) + lengths[sample] <= capacity:
            row.append(sample)
            return
    rows.append([sample])


def make(out, source):
    """The lengths and settings are those of the set."""
    file = read_json(source / "packing" / "cases.json")
    for case in file["cases"]:
        lengths, capacity = case["lengths"], case["knapsack_length"]
        batches, skipped = pack(lengths, case["pool_size"], capacity, case["max_batch_size"])
        tokens = [[sum(lengths[s] for s in row) for row in batch] for batch in batches]
        total = sum(map(sum, tokens))
        case |= {"batches": batches, "skipped": skipped, "row_tokens": tokens, "tokens": total, "padding": capacity * sum(map(len, batches)) - total}
    write_json(out / "packing" / "cases.json", file | {"about": ABOUT}, indent=None)
