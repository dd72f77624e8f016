// @ts-check
import { ChatStream } from './chat-stream.js'
import { Composer } from './composer.js'
import { find } from './dom.js'
import { LogView } from './log-view.js'
import { Outbox } from './outbox.js'
import { Profile } from './profile.js'
import { RoomHistory } from './room-history.js'
import { RoomList } from './room-list.js'
import { Thinking } from './thinking.js'

const LABELS = { connecting: 'Connecting…', live: 'Live', reconnecting: 'Reconnecting…', offline: 'Offline' }
const ROOMS_RETRY_MS = 2_000

const rooms = await loadRooms()
const roomList = new RoomList(rooms)
/** @type {Map<string, RoomHistory>} */
const histories = new Map(rooms.map(({ id }) => [id, new RoomHistory(id)]))
const connection = find('#connection', 'p')
const instance = find('#instance', 'p')

/** The open room. @type {import('./room-list.js').Room | undefined} */
let room

const profile = new Profile(focusComposer)
const outbox = new Outbox(showUnsent, ({ chatId, text, author, at }, id) => {
  // The stream may be down just now, so the page doesn't wait for it; what comes twice is shown once.
  addMessage(chatId, { id, text, author, role: 'user', sentAt: new Date(at).toISOString() }, true)
})
const log = new LogView({
  retry: (key) => outbox.retry(key),
  discard: (key) => outbox.discard(key),
  say
})
const composer = new Composer(say)
const thinking = new Thinking((thinks) => log.showThinking(thinks))

const stream = new ChatStream({
  state: showState,
  ready: (resumed) => { if (!resumed && historyOf(room)?.completeUntil !== undefined) addGap(false) },
  reset: addGap,
  lost: rememberComplete,
  message: (message) => {
    if (room === undefined) return
    addMessage(room.id, message, outbox.recognise(room.id, message))
    if (document.hidden) roomList.countUnread(room.id)
    showTitle()
  },
  botAction: (action) => thinking.take(action),
  activity: (chatId) => {
    roomList.countUnread(chatId)
    showTitle()
  },
  instance: (instanceId) => {
    instance.textContent = instanceId
    instance.title = `This stream comes from the instance ${instanceId}`
    instance.hidden = false
  },
  position: (lastEventId) => {
    const history = historyOf(room)
    if (history !== undefined) history.lastEventId = lastEventId
  }
})

window.addEventListener('hashchange', openRoom)
window.addEventListener('pagehide', save)
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    save()
  } else if (room !== undefined) {
    roomList.markRead(room.id)
    showTitle()
  }
})
// A browser that goes back to a frozen page finds its stream closed.
window.addEventListener('pageshow', ({ persisted }) => { if (persisted) reopen() })
find('.skip-link', 'a').addEventListener('click', (event) => {
  // The hash says which room is open.
  event.preventDefault()
  composer.focus()
})

openRoom()
if (profile.name === '') profile.ask()

function openRoom () {
  const wanted = rooms.find(({ id }) => window.location.hash === `#/${id}`) ?? rooms[0]
  if (wanted === undefined || wanted === room) return
  leave()
  room = wanted
  find('#room-name', 'h1').textContent = room.name
  find('#room-topic', 'p').textContent = room.topic
  roomList.select(room.id)
  thinking.clear()
  log.show(room.name, historyOf(room)?.entries ?? [])
  composer.open(room.id, room.name)
  showUnsent()
  showTitle()
  reopen()
  focusComposer()
}

function reopen () {
  if (room !== undefined) stream.open(room.id, historyOf(room)?.lastEventId ?? '')
}

/** @param {string} text */
function say (text) {
  if (room !== undefined) outbox.send(room.id, text, profile.name)
}

/** @param {string} chatId @param {import('./room-history.js').Message} message @param {boolean} mine */
function addMessage (chatId, message, mine) {
  const entry = histories.get(chatId)?.add(message, mine)
  if (entry === undefined || chatId !== room?.id) return
  log.add(entry)
  showUnsent()
}

/** @param {boolean} certain */
function addGap (certain) {
  const entry = historyOf(room)?.addGap(certain)
  if (entry !== undefined) log.add(entry)
}

function showUnsent () {
  if (room !== undefined) log.showUnsent(outbox.of(room.id))
}

/** @param {import('./chat-stream.js').StreamState} state */
function showState (state) {
  connection.dataset.state = state
  find('[data-part="label"]', 'span', connection).textContent = LABELS[state]
  if (state !== 'live') thinking.clear()
}

/** What was shown is complete up to now: from here on, something may be missed. */
function rememberComplete () {
  const history = historyOf(room)
  if (history !== undefined) history.completeUntil = Date.now()
}

function leave () {
  if (stream.live) rememberComplete()
  historyOf(room)?.save()
}

function save () {
  if (stream.live) rememberComplete()
  for (const history of histories.values()) history.save()
}

function showTitle () {
  const { unread } = roomList
  document.title = `${unread > 0 ? `(${unread}) ` : ''}${room?.name ?? 'Chat'} – Relay`
}

/** On a touch screen the focus would open the keyboard. */
function focusComposer () {
  if (window.matchMedia('(pointer: fine)').matches && profile.name !== '') composer.focus()
}

/** @param {import('./room-list.js').Room | undefined} of */
function historyOf (of) {
  return of === undefined ? undefined : histories.get(of.id)
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
