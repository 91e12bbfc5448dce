// Read an exported log with the tools of others (filippo.io/torchwood, golang.org/x/mod), as a monitor would: verify the
// checkpoint's signature, read every entry and hold it against the tiles, and prove older checkpoints consistent with it.
//
// Usage: go run . http://127.0.0.1:8000/ [SIZE …] (the export, behind any web server; sizes of older checkpoints)
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "give the URL of an export")
		os.Exit(2)
	}
	if err := read(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// read reads the whole log at url, and proves it consistent with the older checkpoints of these sizes.
func read(url string, older []string) error {
	ctx := context.Background()
	fetcher, err := torchwood.NewTileFetcher(url, torchwood.WithConcurrencyLimit(4))
	if err != nil {
		return err
	}
	key, err := fetcher.ReadEndpoint(ctx, "vkey")
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return err
	}
	latest, err := checkpoint(ctx, fetcher, verifier, "checkpoint")
	if err != nil {
		return err
	}
	fmt.Printf("%s signs %d events under %s\n", latest.Origin, latest.N, latest.Hash)
	if err := entries(ctx, fetcher, latest.Tree); err != nil {
		return err
	}
	for _, size := range older {
		before, err := checkpoint(ctx, fetcher, verifier, fmt.Sprintf("checkpoints/%020s", size))
		if err != nil {
			return err
		}
		hashes := torchwood.TileHashReaderWithContext(ctx, latest.Tree, fetcher)
		proof, err := tlog.ProveTree(latest.N, before.N, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, latest.N, latest.Hash, before.N, before.Hash); err != nil {
			return err
		}
		fmt.Printf("the checkpoint of %d events is of the same history\n", before.N)
	}
	return nil
}

func checkpoint(ctx context.Context, fetcher *torchwood.TileFetcher, verifier note.Verifier, path string) (torchwood.Checkpoint, error) {
	signed, err := fetcher.ReadEndpoint(ctx, path)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return torchwood.ParseCheckpoint(opened.Text)
}

// entries reads every entry of a tree, each verified, and proves the first, the last and the one in the middle.
func entries(ctx context.Context, fetcher *torchwood.TileFetcher, tree tlog.Tree) error {
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	count, bytes, all := int64(0), 0, sha256.New()
	for count < tree.N {
		before := count
		for _, entry := range client.Entries(ctx, tree, count) {
			all.Write(entry)
			bytes += len(entry)
			count++
		}
		if err := client.Err(); err != nil {
			return err
		}
		if count == before {
			return fmt.Errorf("the reader stops at entry %d of %d", count, tree.N)
		}
	}
	for _, index := range []int64{0, tree.N / 2, tree.N - 1} {
		if _, _, err := client.Entry(ctx, tree, index); err != nil {
			return err
		}
	}
	fmt.Printf("read %d entries of %d bytes, sha256 %x\n", count, bytes, all.Sum(nil))
	return nil
}
