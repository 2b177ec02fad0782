// Speaks with a SecureA2AServer as any Go program would; prints one JSON object of what it saw.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type bearer struct {
	a2aclient.PassthroughInterceptor
	token string
}

func (b bearer) Before(ctx context.Context, req *a2aclient.Request) (context.Context, error) {
	if b.token != "" {
		req.Meta["Authorization"] = []string{"Bearer " + b.token}
	}
	return ctx, nil
}

func must[T any](value T, err error) T {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		panic(err)
	}
	return value
}

func said(parts []a2a.Part) string {
	var text strings.Builder
	for _, part := range parts {
		if one, ok := part.(a2a.TextPart); ok {
			text.WriteString(one.Text)
		}
	}
	return text.String()
}

func saying(text string, task *a2a.Task) *a2a.MessageSendParams {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: text})
	if task != nil {
		message.TaskID, message.ContextID = task.ID, task.ContextID
	}
	return &a2a.MessageSendParams{Message: message}
}

func word(event a2a.Event) string {
	switch one := event.(type) {
	case *a2a.Task:
		return "task " + string(one.Status.State)
	case *a2a.TaskStatusUpdateEvent:
		return "status " + string(one.Status.State)
	case *a2a.TaskArtifactUpdateEvent:
		return "artifact " + said(one.Artifact.Parts)
	}
	return "message"
}

func all(events iter.Seq2[a2a.Event, error]) []string {
	words := []string{}
	for event, err := range events {
		words = append(words, word(must(event, err)))
	}
	return words
}

func failure(events iter.Seq2[a2a.Event, error]) error {
	for _, err := range events {
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	base, binding, token := os.Args[1], os.Args[2], os.Args[3]
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Second)
	defer stop()
	seen := map[string]any{}

	card := must(agentcard.DefaultResolver.Resolve(ctx, base))
	seen["card"] = card.Name
	places := append([]a2a.AgentInterface{{Transport: card.PreferredTransport, URL: card.URL}}, card.AdditionalInterfaces...)
	var place []a2a.AgentInterface
	for _, one := range places {
		if string(one.Transport) == binding {
			place = append(place, one)
		}
	}
	client := must(a2aclient.NewFromEndpoints(ctx, place,
		a2aclient.WithInterceptors(bearer{token: token}),
		a2aclient.WithGRPCTransport(grpc.WithTransportCredentials(insecure.NewCredentials()))))

	worked := must(client.SendMessage(ctx, saying("work for me", nil))).(*a2a.Task)
	seen["worked"] = said(worked.Artifacts[0].Parts)
	seen["greeting"] = said(must(client.SendMessage(ctx, saying("greet me", nil))).(*a2a.Message).Parts)
	seen["counted"] = all(client.SendStreamingMessage(ctx, saying("count", nil)))
	asked := must(client.SendMessage(ctx, saying("ask me", nil))).(*a2a.Task)
	seen["asked"] = asked.Status.State
	answered := must(client.SendMessage(ctx, saying("done", asked))).(*a2a.Task)
	seen["answered"] = said(answered.Status.Message.Parts)
	one := 1
	got := must(client.GetTask(ctx, &a2a.TaskQueryParams{ID: asked.ID, HistoryLength: &one}))
	seen["got"] = []any{got.Status.State, len(got.History)}

	// A stream that is left, a subscription that goes on, and an end for it.
	var waiting a2a.TaskID
	for event, err := range client.SendStreamingMessage(ctx, saying("wait", nil)) {
		if task, ok := must(event, err).(*a2a.Task); ok {
			waiting = task.ID
			break
		}
	}
	followed, first := make(chan []string, 1), make(chan bool, 1)
	go func() {
		words := []string{}
		for event, err := range client.ResubscribeToTask(ctx, &a2a.TaskIDParams{ID: waiting}) {
			words = append(words, word(must(event, err)))
			if len(words) == 1 {
				first <- true
			}
		}
		followed <- words
	}()
	<-first
	seen["cancelled"] = must(client.CancelTask(ctx, &a2a.TaskIDParams{ID: waiting})).Status.State
	seen["followed"] = <-followed

	_, missing := client.GetTask(ctx, &a2a.TaskQueryParams{ID: "01a00000-0000-7000-8000-000000000000"})
	_, final := client.CancelTask(ctx, &a2a.TaskIDParams{ID: worked.ID})
	_, again := client.SendMessage(ctx, saying("again", worked))
	closed := failure(client.ResubscribeToTask(ctx, &a2a.TaskIDParams{ID: worked.ID}))
	seen["errors"] = []bool{errors.Is(missing, a2a.ErrTaskNotFound), errors.Is(final, a2a.ErrTaskNotCancelable),
		errors.Is(again, a2a.ErrUnsupportedOperation), errors.Is(closed, a2a.ErrUnsupportedOperation)}
	seen["failed"] = []bool{missing != nil, final != nil, again != nil, closed != nil}

	tokens, done := []string{}, make(chan bool, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := must(io.ReadAll(r.Body))
		tokens = append(tokens, r.Header.Get("X-A2A-Notification-Token"))
		if strings.Contains(string(body), "COMPLETED") || strings.Contains(string(body), "completed") {
			select {
			case done <- true:
			default:
			}
		}
	}))
	watched := must(client.SendMessage(ctx, saying("ask", nil))).(*a2a.Task)
	config := a2a.PushConfig{ID: "mine", URL: hook.URL, Token: "t-1"}
	made := must(client.SetTaskPushConfig(ctx, &a2a.TaskPushConfig{TaskID: watched.ID, Config: config}))
	fetched := must(client.GetTaskPushConfig(ctx, &a2a.GetTaskPushConfigParams{TaskID: watched.ID, ConfigID: "mine"}))
	seen["config"] = []bool{made.Config.URL == hook.URL, fetched.Config.URL == hook.URL}
	must(client.SendMessage(ctx, saying("done", watched)))
	select {
	case <-done:
	case <-ctx.Done():
	}
	seen["pushed"] = tokens[0]
	json.NewEncoder(os.Stdout).Encode(seen)
}
