// Command system-roots sends one GET request with Go's default client, which trusts the roots of the
// system. It prints the status, or prints the error and exits with 1. It stands in for the clients of
// object stores that configure no roots of their own: Azure and GCS.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
}
