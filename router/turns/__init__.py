"""The turn: from an accepted message to the sent reply, whatever dies or fails on the way.

Each row is a point at which a process may be killed, or the other side may fail: what is durable
there, and how it goes on. Nothing is remembered that is not in PostgreSQL, at the runtime or in
Slack, so the next holder needs no rescuer: it finds the row, looks, and does what is missing.

Whoever was killed holds its lease until that expires; the next holder claims with a higher epoch, and
the writes of the earlier one match nothing any more. `tests/chaos/test_crash_points.py` kills a real
process at each row and checks what a person sees and what the runtime received.

| point | durable there | what happens then |
| --- | --- | --- |
| accept.uncommitted | nothing | no 200: Slack sends the event again, anyone accepts it |
| accept.unknown | pin, session, input; we do not know | 503: Slack sends it again, its key is there |
| accept.unanswered | pin, session, input | Slack sends it again: a duplicate; a sweep finds the session |
| accept.answered | pin, session, input | a sweep of any replica finds the session |
| claim.taken | + lease, epoch | claimable when the lease ends; counted, so that poison is parked |
| create.intended | + create_started_at | looked for at the runtime by our metadata, twice; then created |
| create.unanswered | + a runtime session without pointer | found by our metadata, not created again |
| create.unstored | + a runtime session without pointer | found by our metadata, not created again |
| files.opened | + turn, session running, inputs still `queued` | brought along as the rows say |
| files.named | + a row `pending` for each file | fetched |
| files.fetching | + the fetch counted | fetched again, three times at the most |
| files.unstored | + a copy at the runtime that nobody knows | fetched again; the copy expires |
| files.stored | + `uploaded` with the copy's id | mounted |
| files.unmounted | + the copy in the session | found there by its path |
| files.mounted | + `ready` | the next file |
| files.told | + the sentence on those refused | known by the input's key |
| files.context | as before: nothing of it is kept | read again |
| begin.committed | + turn, inputs `sending` with a deadline | after it the runtime is asked twice; sent |
| send.unanswered | + the message at the runtime | found there by the input's id; not sent again |
| send.unstored | + the message at the runtime | found there by the input's id; not sent again |
| send.stored | + inputs `sent` | the history is listed from our place, the stream followed |
| turn.between_events | + events at the runtime | listed again: the same effects under the same keys |
| interrupt.unanswered | + the interrupt at the runtime | it is there or it is not: never sent to another turn |
| ask.uncommitted | + a held call at the runtime | found again by listing; asked then |
| ask.committed | + its row `pending`, no card yet | the row is known by its call; the turn pauses |
| pause.committed | + awaiting a human, words, card; released | any replica delivers and decides |
| decide.uncommitted | as before | the press failed before the person's eyes: pressed again |
| decide.committed | + verdict and decision in one | a sweep finds the session; a second press is late |
| confirm.sending | + decision `sending` with a deadline | looked for at the runtime by its tool call; sent |
| confirm.unanswered | + decision at the runtime | found there by its tool call's id; not sent again |
| confirm.unstored | + decision at the runtime | found there by its tool call's id; not sent again |
| confirm.stored | + `confirmed`, the card's last writing | the history is listed from our place |
| answer.committed | + an answer to a question, and its decision | as decide.committed |
| answer.unstored | + the answer at the runtime | as confirm.unstored |
| tool.read | + a held call of a tool of ours | read again: nothing of it is kept |
| tool.asked | + its approval `pending`, no card yet | known by its call; the turn pauses |
| tool.approved | + `allowed`, no message yet | the next holder writes the message |
| tool.posted | + the effect `tool:{event}` | known by its key: only waited for |
| tool.unwritten | as before | waited for again, or read again |
| tool.answered | + the answer as a decision, usage, audit | sent as any decision |
| stream.intended | + preview `starting` with the time | no stream since then is ours: the reply is posted |
| stream.unanswered | + a stream in Slack, its ts unknown | found as ours, in progress, since then: adopted |
| stream.unstored | + a stream in Slack, its ts unknown | found as ours, in progress, since then: adopted |
| stream.open | + its ts | finished with the exact final text at the turn's end |
| stream.rolling | + an ended stream, the next not begun | the final text uses the stored offsets |
| end.uncommitted | as before | the history gives the same end |
| end.releasing | as before | the same: what else an end has to write is in its transaction |
| end.committed | + effects, usage, place; session released | any replica delivers |
| outbox.claimed | + `sending` with a deadline | after it the thread is read for delivery_id; posted |
| outbox.unanswered | + the post in Slack | found in the thread by delivery_id; not posted again |
| outbox.unstored | + the post in Slack | found in the thread by delivery_id; not posted again |
| outbox.between_parts | + one part `sent` | the next part is `pending`: delivered in order |
| finish.stopped | + the stream ended in Slack | stopped again (refused, ignored), updated |
| finish.unstored | + the exact text in Slack | stopped and updated again: the same message |
| look.planned | + the look that the turn's end asked for | any replica looks when it is due |
| look.claimed | + the look put off | due again when that is over |
| look.listed | as before | listed again |
| look.uncommitted | as before | listed again |
| look.committed | + files noted, their deliveries, look moved on | any replica delivers |
| file.claimed | + `sending` with a deadline | begun anew |
| file.ticket | + Slack's id of a file that nobody sees | begun anew, with another id |
| file.brought | + its bytes at Slack | begun anew, with another id |
| file.completing | + that it is about to be shared | looked for at Slack; the same one completed |
| file.completed | + the file in the thread, or about to be | looked for at Slack by its id |
| file.shown | as before | looked for at Slack by its id |
| file.between | + the first file `sent` | the next one is `pending`: delivered in order |
| stop.handing_back | as before | the lease was not handed back: it runs out |
| stop.delivering | + `sending` with a deadline | as outbox.claimed or outbox.unanswered |

Two windows stay that no order of writes closes (engine.md 7): a request that takes effect after its
sender's deadline, and a read-back that does not show a message yet. There we wait, look twice,
take away a doubled message when it is found, and count both.
"""
