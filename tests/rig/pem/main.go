// Command pem-judge says how many certificates Go takes from PEM bundles.
//
// It reads bundles from standard input, each as a four-byte big-endian length
// and that many bytes, and answers each with one line "<ok> <certificates>".
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
)

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		var size uint32
		if err := binary.Read(in, binary.BigEndian, &size); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		bundle := make([]byte, size)
		if _, err := io.ReadFull(in, bundle); err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		ok := pool.AppendCertsFromPEM(bundle)
		// Subjects is deprecated for the system pool only; this one is our own.
		fmt.Fprintln(out, ok, len(pool.Subjects())) //nolint:staticcheck
	}
}
