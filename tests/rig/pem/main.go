// Command pem-judge counts the certificates that Go accepts from PEM bundles.
//
// It reads bundles from standard input, each as a four-byte big-endian length
// followed by that number of bytes, and writes one line "<ok> <certificates>"
// for each.
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
		// Subjects is deprecated only for the system pool, and this is not one.
		fmt.Fprintln(out, ok, len(pool.Subjects())) //nolint:staticcheck
	}
}
