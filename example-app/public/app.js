// @ts-check
import { Composer } from './composer.js'
import { Connection } from './connection.js'
import { ConnectionView } from './connection-view.js'
import { find } from './dom.js'
import { LogView } from './log-view.js'
import { OutageMenu } from './outage-menu.js'
import { Outbox } from './outbox.js'
import { PeopleView } from './people-view.js'
import { Profile } from './profile.js'
import { Room } from './room.js'
import { loadRooms, RoomList } from './room-list.js'
import { TypingSignal } from './typing-signal.js'
import { showTyping } from './typing-view.js'

const view = new ConnectionView()
const people = new PeopleView()
const typing = new TypingSignal()
const profile = new Profile(enter)
const outbox = new Outbox(showUnsent)
const log = new LogView({
  retry: (key) => outbox.retry(key),
  discard: (key) => outbox.discard(key),
  stop: (botMessageId) => room?.stopBotMessage(botMessageId),
  earlier: () => room?.loadEarlier(),
  isMine,
  say
})
const composer = new Composer({
  send: say,
  typing: (active) => { if (room !== undefined) typing.send(room.id, profile.name, active) }
})

const connection = new Connection({
  state: (state) => view.showState(state),
  disconnected: () => { for (const each of rooms.values()) each.disconnected() },
  instance: (instanceId) => view.showInstance(instanceId),
  resumed: (resumption) => view.showResumption(resumption),
  reloaded: (reset) => view.showReload(reset)
})

const list = await loadRooms()
const roomList = new RoomList(list)
/** @type {Map<string, Room>} */
const rooms = new Map(list.map((info) => [info.id, new Room(info, connection, {
  message: receive,
  loaded,
  earlier: (of) => { if (of === room) log.showEarlier(of.history) },
  botMessages: (of) => { if (of === room) log.showBotMessages(of.botMessages.values()) },
  thinking: (of) => { if (of === room) log.showThinking(of.thinking.active) },
  typing: (of) => { if (of === room) showTyping(of.typing.names, profile.name) },
  people: (of) => { if (of === room) people.show(of.people, profile.name) }
})]))

/** The open room. @type {Room | undefined} */
let room
let entered = false

const outages = new OutageMenu({
  drop: (ms) => connection.drop(ms),
  losePosition: () => room?.losePosition(),
  instanceId: () => view.instanceId,
  warn: (text) => view.notify(text, 'warning')
})

window.addEventListener('hashchange', showRoom)
document.addEventListener('visibilitychange', () => {
  if (document.hidden || room === undefined) return
  roomList.markRead(room.id)
  showTitle()
})
find('.skip-link', 'a').addEventListener('click', (event) => {
  // The hash names the open room, so it must not change.
  event.preventDefault()
  composer.focus()
})

showRoom()
outages.offerStop()
if (profile.name === '') profile.ask()
else enter()

/** Enters the rooms under the user's name, or under a new one. */
function enter () {
  connection.enterAs(profile.name)
  if (!entered) for (const each of rooms.values()) each.open()
  entered = true
  if (room !== undefined) people.show(room.people, profile.name)
  focusComposer()
}

function showRoom () {
  const all = [...rooms.values()]
  const wanted = all.find(({ id }) => window.location.hash === `#/${id}`) ?? all[0]
  if (wanted === undefined || wanted === room) return
  room = wanted
  find('#room-name', 'h1').textContent = room.name
  find('#room-topic', 'p').textContent = room.topic
  roomList.select(room.id)
  log.show(room.name, room.history)
  log.showBotMessages(room.botMessages.values())
  log.showThinking(room.thinking.active)
  showTyping(room.typing.names, profile.name)
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

/** Shows a message of the stream. @param {Room} of @param {import('./room.js').Message} message */
function receive (of, message) {
  outbox.confirm(of.id, message)
  if (of === room) log.add(message)
  countUnread(of, [message])
}

/** Shows the messages of the database. @param {Room} of @param {import('./room.js').Message[]} missed */
function loaded (of, missed) {
  for (const message of of.history.messages) outbox.confirm(of.id, message)
  countUnread(of, missed)
  if (of !== room) return
  log.show(of.name, of.history)
  log.showBotMessages(of.botMessages.values())
}

/** @param {Room} of @param {import('./room.js').Message[]} messages */
function countUnread (of, messages) {
  if (of === room && !document.hidden) return
  for (const message of messages) if (!isMine(message)) roomList.countUnread(of.id)
  showTitle()
}

/** Messages of the user's other windows are theirs, too. @param {import('./room.js').Message} message */
function isMine ({ role, author }) {
  return role === 'user' && author === profile.name
}

function showUnsent () {
  if (room !== undefined) log.showUnsent(outbox.of(room.id))
}

function showTitle () {
  const { unread } = roomList
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${room?.name ?? 'Chat'} – Relay`
}

/** Not on a touch screen, where the focus would open the keyboard. */
function focusComposer () {
  if (window.matchMedia('(pointer: fine)').matches && profile.name !== '') composer.focus()
}
