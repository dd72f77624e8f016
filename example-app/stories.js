// @ts-check
import { setTimeout as delay } from 'node:timers/promises'

/** @typedef {(wordMs: number, signal: AbortSignal) => AsyncGenerator<string>} Story A long answer, word by word, as a model would give it. */

/** What can be told at length, by the word that asks for it. @type {Record<string, string>} */
const articles = {
  'server-sent events': `Server-Sent Events are an HTTP response that never ends. The browser asks once, the server answers with “text/event-stream”, and from then on it writes a few lines whenever something happens: the name of the event, its data, and an id.

The id is what makes them more than a long download. The browser remembers the last one, and when the connection breaks it comes back by itself and says in a header, Last-Event-ID, how far it had come. Whether that is of any use is up to the server: it has to know what came after that id.

What you read now came over such a stream. It needs no protocol of its own, passes every proxy that does not buffer, and over HTTP/2 shares its connection with everything else the page asks for. It goes one way only. Whatever you say travels as a plain POST.`,

  resuming: `Every message in this room has a place in the log of the room: the epoch of the log, its number, and a random tag. Your page keeps the place of the last message that it has shown.

When the connection breaks, the page comes back after two seconds or so, most likely to another instance, and tells its place. That instance has never seen you. It does not need to: it reads from the log in Redis what came after your place, sends it, and goes on with what is new. Nothing is missed, and nothing comes twice.

Sometimes that can’t be proven. The server was started anew, Redis lost its last second, or you were away for longer than the log reaches. Then the page gets a “reset” with the reason, and draws a line: something may be missing here. Silence would be more comfortable, and wrong.

Try it. Drop the connection from the menu “Outages to try”, have somebody write in the meantime, and watch it catch up.`,

  rooms: `A room is a chat with an id. Nobody creates it: the first message begins its log, and ten minutes after the last one the log is forgotten.

Each instance follows a room only while somebody there has it open. However many people that are, it hears of each message once, writes it down once as bytes, and hands the same bytes to all of them.

This page has all four rooms open, over one connection. The id of each event holds the places of all four, so that a page that comes back goes on in each of them. That is also how the list on the side knows how many messages you have not read.`,

  presence: `The faces at the top are everybody who has this room open, by name: two windows of one person count once, and so do two instances.

Each instance holds a lease for its people and renews it. When somebody closes the last window, the others hear of it ten seconds later, so that whoever merely reloads the page has never left. When an instance dies without a word, its lease runs out and its people are gone, unless they have turned up elsewhere by then, which they mostly have.

Typing is simpler. It is a sign that holds for six seconds and is kept nowhere. If the one who types is cut off in the middle of a word, he stops typing by himself.`,

  answers: `This very answer is a good example. The instance that took your question makes it up word by word, as a language model would. It does not publish each word as a message; a room would be full of them. What there is of the answer is a text beside the log, which each instance mirrors while somebody there reads along.

So you may reload the page now, and it goes on where it is. Somebody else who opens the room sees all of it so far and then the rest. Anybody can stop it, on any instance: the button sends a plain POST, and whichever instance takes it tells the one that speaks.

There is one end, whatever happens. Finished, stopped and failed are told by the one who speaks. If its process dies, another instance notices within seconds that the lease has run out, and ends the answer as interrupted, with what there is of it.`,

  story: `Once there was a message that said no more than “hello”. It was written on a phone in a train, and just as it left, the train entered a tunnel.

The first instance took it all the same, for it had come through by a hair. “Number forty-one,” it said, and wrote it into the log, behind number forty, which was a picture of a cat. Then it called out: “Forty-one!”

The second instance heard it and told its readers. The third one had nodded off for a moment. “Forty-two!” somebody called, and it woke with a start. Forty-two? The last thing it had heard was forty. A lesser instance would have shrugged and gone on. This one opened the log, found “hello” between the cat and the rest, read it out to everybody in the right order, and only then went on.

On the other side of the tunnel the phone came back. It could not know whether its “hello” had arrived, so it said it again, with the same key as before. “I know that one,” said the log. “It is number forty-one.” And so in a room full of people, on three instances, each read “hello” exactly once.

Nobody noticed anything. That is how stories like this one should end.`
}

/** What people may ask about. */
export const topics = Object.keys(articles).filter((topic) => topic !== 'story')

/** @param {string} text @returns {Story | undefined} `undefined` where a short answer will do */
export function storyFor (text) {
  if (/^break$/i.test(text.trim())) return brokenStory
  const [, wanted] = /^(?:please )?(?:tell me|explain|talk|what (?:is|are))(?: about)? (?:an? |the )?(.+?)[.?!]*$/i.exec(text.trim()) ?? []
  if (wanted === undefined) return undefined
  const topic = Object.keys(articles).find((topic) => topic === wanted.toLowerCase()) ?? (/^(sse|eventsource|streams?)$/i.test(wanted) ? 'server-sent events' : undefined)
  return topic === undefined ? undefined : (wordMs, signal) => words(articles[topic] ?? '', wordMs, signal)
}

/** Ends with the signal, in the midst of a word if need be. @param {string} text @param {number} wordMs @param {AbortSignal} signal */
async function * words (text, wordMs, signal) {
  for (const word of text.split(/(?<=\s)(?=\S)/)) {
    yield word
    await delay(wordMs, undefined, { signal })
  }
}

/** @param {number} wordMs @param {AbortSignal} signal */
async function * brokenStory (wordMs, signal) {
  yield * words('Let me look that up. It will only take a moment, the model behind me is', wordMs, signal)
  throw new Error('The model behind the bot is overloaded, as it was asked to be')
}
