// Command proxy-judge tells which requests Go sends through a proxy.
//
// It reads URLs from standard input, one a line, and writes for each the URL of
// the proxy that the environment names, or "direct".
package main

import (
	"bufio"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		request, err := http.NewRequest("GET", in.Text(), nil)
		if err != nil {
			log.Fatal(err)
		}
		proxy, err := http.ProxyFromEnvironment(request)
		switch {
		case err != nil:
			log.Fatal(err)
		case proxy == nil:
			fmt.Fprintln(out, "direct")
		default:
			fmt.Fprintln(out, proxy.Redacted())
		}
	}
}
