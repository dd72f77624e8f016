// @ts-check
import { Composer } from './composer.js'
import { Connection } from './connection.js'
import { ConnectionView } from './connection-view.js'
import { find } from './dom.js'
import { LogView } from './log-view.js'
import { Outages } from './outages.js'
import { Outbox } from './outbox.js'
import { PeopleView } from './people-view.js'
import { Profile } from './profile.js'
import { Room } from './room.js'
import { RoomList } from './room-list.js'
import { TypingSignal } from './typing-signal.js'
import { showTyping } from './typing-view.js'

const ROOMS_RETRY_MS = 2_000

const view = new ConnectionView()
const people = new PeopleView()
const typing = new TypingSignal()
const profile = new Profile(enter)
const outbox = new Outbox(showUnsent, ({ chatId, text, author, at }, id) => {
  // The stream may be down just now, so the page doesn't wait for it; what comes twice is shown once.
  addMessage(chatId, { id, text, author, role: 'user', sentAt: new Date(at).toISOString() }, true)
})
const log = new LogView({
  retry: (key) => outbox.retry(key),
  discard: (key) => outbox.discard(key),
  stop: (answerId) => room?.stopAnswer(answerId),
  say
})
const composer = new Composer({
  send: say,
  typing: (types) => { if (room !== undefined) typing.tell(room.id, profile.name, types) }
})

const connection = new Connection({
  state: (state) => view.showState(state),
  lost: () => { for (const each of rooms.values()) each.lost() },
  instance: (instanceId) => view.showInstance(instanceId),
  back: (how) => view.showReturn(how)
})

const list = await loadRooms()
const roomList = new RoomList(list)
/** @type {Map<string, Room>} */
const rooms = new Map(list.map((info) => [info.id, new Room(info, connection, {
  message: (of, message, when) => {
    const mine = outbox.recognise(of.id, message)
    addMessage(of.id, message, mine)
    if (mine || when === 'old' || (of === room && !document.hidden)) return
    roomList.countUnread(of.id)
    showTitle()
  },
  gap: (of, reset) => {
    const entry = of.history.addGap(reset)
    if (entry !== undefined && of === room) log.add(entry)
  },
  answers: (of) => { if (of === room) log.showAnswers(of.answers.values()) },
  thinking: (of) => { if (of === room) log.showThinking(of.thinking.thinks) },
  typing: (of) => { if (of === room) showTyping(of.typists.names, profile.name) },
  people: (of) => { if (of === room) people.show(of.people, profile.name) }
})]))

/** The open room. @type {Room | undefined} */
let room
let entered = false

const outages = new Outages({
  drop: (ms) => connection.drop(ms),
  losePlace: () => room?.losePlace(),
  instanceId: () => view.instanceId,
  say: (text) => view.say(text, 'doubtful')
})

window.addEventListener('hashchange', showRoom)
window.addEventListener('pagehide', save)
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    save()
  } else if (room !== undefined) {
    roomList.markRead(room.id)
    showTitle()
  }
})
find('.skip-link', 'a').addEventListener('click', (event) => {
  // The hash says which room is open.
  event.preventDefault()
  composer.focus()
})

showRoom()
outages.offerStop()
if (profile.name === '') profile.ask()
else enter()

/** Comes in under the name that was given, or given anew. */
function enter () {
  connection.enterAs(profile.name)
  if (!entered) for (const each of rooms.values()) each.open()
  entered = true
  if (room !== undefined) people.show(room.people, profile.name)
  focusComposer()
}

function showRoom () {
  const wanted = [...rooms.values()].find(({ id }) => window.location.hash === `#/${id}`) ?? [...rooms.values()][0]
  if (wanted === undefined || wanted === room) return
  room = wanted
  find('#room-name', 'h1').textContent = room.name
  find('#room-topic', 'p').textContent = room.topic
  roomList.select(room.id)
  log.show(room.name, room.history.entries)
  log.showAnswers(room.answers.values())
  log.showThinking(room.thinking.thinks)
  showTyping(room.typists.names, profile.name)
  people.show(room.people, profile.name)
  composer.open(room.id, room.name)
  showUnsent()
  showTitle()
  focusComposer()
}

/** @param {string} text */
function say (text) {
  if (room !== undefined) outbox.send(room.id, text, profile.name)
}

/** @param {string} chatId @param {import('./room-history.js').Message} message @param {boolean} mine */
function addMessage (chatId, message, mine) {
  const entry = rooms.get(chatId)?.history.add(message, mine)
  if (entry === undefined || chatId !== room?.id) return
  log.add(entry)
  showUnsent()
}

function showUnsent () {
  if (room !== undefined) log.showUnsent(outbox.of(room.id))
}

function save () {
  for (const each of rooms.values()) each.save()
}

function showTitle () {
  const { unread } = roomList
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${room?.name ?? 'Chat'} – Relay`
}

/** On a touch screen the focus would open the keyboard. */
function focusComposer () {
  if (window.matchMedia('(pointer: fine)').matches && profile.name !== '') composer.focus()
}

/** @returns {Promise<import('./room-list.js').Room[]>} */
async function loadRooms () {
  for (;;) {
    try {
      const response = await fetch('/api/rooms')
      if (response.ok) return (await response.json()).rooms
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, ROOMS_RETRY_MS))
  }
}
