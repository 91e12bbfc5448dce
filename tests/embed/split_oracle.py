"""The splitter's rule again, from `docs/long_text.md`, character by character and without its code: slow and plain."""

# ruff: noqa: RUF001 - stops and brackets of many scripts

from itertools import pairwise

BLANK = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
BREAK = {0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028}
NEEDS_BLANK = {
    *map(ord, ".!?…‼⁇⁈⁉"), 0x589, 0x5C3, 0x61F, 0x6D4, 0x964, 0x965, 0xF0D, 0xF0E, 0x104B, 0x1362, 0x1367, 0x1368,
    0x17D4, 0x17D5, 0x1803, 0x1809,
}  # fmt: skip
NEEDS_NONE = set(map(ord, "。！．？｡"))
CLOSER = {
    *map(ord, "\"')*]_}«»‘’“”‹›"), *range(0x3009, 0x3012, 2), *range(0x3015, 0x301C, 2), 0x301E, 0x301F, 0xFE42, 0xFE44,
    0xFF02, 0xFF07, 0xFF09, 0xFF3D, 0xFF5D, 0xFF60, 0xFF63,
}  # fmt: skip
WORD, SPACE, LINE, SENTENCE, PARAGRAPH = range(5)


def is_ended(text, at, stops):
    """Whether what stands before `at` ends a sentence: a stop, then at most four closers."""
    for back in range(1, 6):
        if at < back:
            return False
        code = ord(text[at - back])
        if code in stops:
            return True
        if code not in CLOSER:
            return False
    return False


def kind(text, before, start):
    gap = [ord(character) for character in text[before:start]]
    if not BLANK & set(gap):
        following = ord(text[start])
        ends = is_ended(text, before, NEEDS_NONE) and following not in NEEDS_BLANK | NEEDS_NONE | CLOSER
        return SENTENCE if ends else WORD
    breaks, paragraph = 0, 0x2029 in gap
    for index, code in enumerate(gap):
        if code in BREAK and not (code == 0x0A and index and gap[index - 1] == 0x0D):
            breaks += 1
            paragraph = paragraph or breaks == 2
        elif code not in BLANK:
            breaks = 0
    if paragraph:
        return PARAGRAPH
    if is_ended(text, before, NEEDS_BLANK | NEEDS_NONE):
        return SENTENCE
    return LINE if set(gap) & BREAK else SPACE


def split(text, pieces, count, limit, overlap):
    """Give (start, end) of each chunk; `pieces` are (start, end, word)."""
    if len(pieces) <= limit:
        return [(0, len(text))]
    kinds = {
        at: kind(text, before[1], here[0])
        for at, (before, here) in enumerate(pairwise(pieces), start=1)
        if before[2] != here[2] and before[1] <= here[0]
    }

    def characters(first, end):
        start = pieces[first][0] if first else 0
        stop = pieces[end][0] if end < len(pieces) else len(text)
        while ord(text[start]) in BLANK:
            start += 1
        while ord(text[stop - 1]) in BLANK:
            stop -= 1
        return start, stop

    def best_end(first):
        if len(pieces) - first <= limit:
            return len(pieces)
        for least in (limit // 2 + 1, 1):
            for wanted in (PARAGRAPH, SENTENCE, LINE, SPACE, WORD):
                for end in range(first + limit, first + least - 1, -1):
                    if kinds.get(end) == wanted:
                        return end
        raise AssertionError("no border")

    def next_first(first, end):
        for wanted in ((PARAGRAPH, SENTENCE), (LINE,), (SPACE,), (WORD,)):
            for at in range(max(first + 1, end - overlap), end):
                if kinds.get(at) in wanted:
                    return at
        return end

    chunks, first, end = [], 0, 0
    while end < len(pieces):
        end = best_end(first)
        while count(text[slice(*characters(first, end))]) > limit:
            lower = [at for at in kinds if first < at < end]
            if not lower:
                break
            end = lower[-1]
        chunks.append(characters(first, end))
        first = next_first(first, end)
    return chunks
