// Speaks with a Hive node as any Go program would; prints one JSON object of what it saw.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"
)

type bearer struct {
	a2aclient.PassthroughInterceptor
	token string
}

func (b bearer) Before(ctx context.Context, req *a2aclient.Request) (context.Context, error) {
	req.Meta["Authorization"] = []string{"Bearer " + b.token}
	return ctx, nil
}

func must[T any](value T, err error) T {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
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

func main() {
	base, token := os.Args[1], os.Args[2]
	ctx := context.Background()
	client := func(agent string) *a2aclient.Client {
		card := must(agentcard.DefaultResolver.Resolve(ctx, base+"/a2a/"+agent,
			agentcard.WithRequestHeader("Authorization", "Bearer "+token)))
		return must(a2aclient.NewFromCard(ctx, card, a2aclient.WithInterceptors(bearer{token: token})))
	}
	saying := func(text string, task *a2a.Task) *a2a.MessageSendParams {
		message := a2a.NewMessage(a2a.MessageRoleUser, a2a.TextPart{Text: text})
		if task != nil {
			message.TaskID, message.ContextID = task.ID, task.ContextID
		}
		return &a2a.MessageSendParams{Message: message}
	}

	seen := map[string]any{}
	echo := client("echo")
	seen["echo"] = said(must(echo.SendMessage(ctx, saying("hello", nil))).(*a2a.Task).Artifacts[0].Parts)

	var pieces strings.Builder
	var last a2a.TaskState
	for event, err := range client("counting").SendStreamingMessage(ctx, saying("3", nil)) {
		switch one := must(event, err).(type) {
		case *a2a.TaskArtifactUpdateEvent:
			pieces.WriteString(said(one.Artifact.Parts))
		case *a2a.TaskStatusUpdateEvent:
			last = one.Status.State
		}
	}
	seen["pieces"], seen["last"] = pieces.String(), last

	asking := client("asking")
	first := must(asking.SendMessage(ctx, saying("good day", nil))).(*a2a.Task)
	seen["question"] = said(first.Status.Message.Parts)
	second := must(asking.SendMessage(ctx, saying("Ada", first))).(*a2a.Task)
	seen["answer"] = said(second.Artifacts[0].Parts)
	seen["got"] = must(asking.GetTask(ctx, &a2a.TaskQueryParams{ID: first.ID})).Status.State

	_, err := asking.CancelTask(ctx, &a2a.TaskIDParams{ID: first.ID})
	seen["not_cancelable"] = errors.Is(err, a2a.ErrTaskNotCancelable)
	_, err = asking.GetTask(ctx, &a2a.TaskQueryParams{ID: "01a00000-0000-7000-8000-000000000000"})
	seen["not_found"] = errors.Is(err, a2a.ErrTaskNotFound)
	json.NewEncoder(os.Stdout).Encode(seen)
}
