// A client of the SPIFFE Workload API that asks everything it offers, verifies it on its own, and then calls a server
// with its SVID.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	address, url, server := os.Args[1], os.Args[2], os.Args[3]
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(address))
	must(err)
	defer client.Close()
	held, err := client.FetchX509Context(ctx)
	must(err)
	bundles, err := client.FetchX509Bundles(ctx)
	must(err)
	verified, _, err := x509svid.Verify(held.DefaultSVID().Certificates, bundles)
	must(err)
	token, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "billing"})
	must(err)
	keys, err := client.FetchJWTBundles(ctx)
	must(err)
	alone, err := jwtsvid.ParseAndValidate(token.Marshal(), keys, []string{"billing"})
	must(err)
	checked, err := client.ValidateJWTSVID(ctx, token.Marshal(), "billing")
	must(err)
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(address)))
	must(err)
	defer source.Close()
	only := tlsconfig.AuthorizeID(spiffeid.RequireFromString(server))
	transport := &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(source, source, only)}
	answer, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get(url)
	must(err)
	body, err := io.ReadAll(answer.Body)
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(map[string]string{
		"x509": held.DefaultSVID().ID.String(), "verified": verified.String(), "jwt": token.ID.String(),
		"alone": alone.ID.String(), "checked": checked.ID.String(), "called": string(body),
	}))
}
