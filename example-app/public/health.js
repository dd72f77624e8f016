// @ts-check
import { find } from './dom.js'
import { followHealth } from './health-stream.js'
import { InstanceCard } from './instance-card.js'
import { InstanceHistory } from './instance-history.js'
import { statusOf, words } from './instance-status.js'

const RENDER_MS = 500
/** What is said of none, one and two instances. */
const wellBeing = ['Waiting for the first sign of life…', 'The only instance is well', 'Both instances are well']
const { compare: inOrder } = new Intl.Collator('en', { numeric: true })

const summary = find('#summary', 'p')
const connection = find('#connection', 'p')
const list = find('#instances', 'div')

/** @type {Map<string, { history: InstanceHistory, card: InstanceCard }>} */
const instances = new Map()
let live = false
/** The instance that serves this page. */
let server = ''
/** Since when every instance could be heard: the stream is open, and who serves it hears the others. @type {number | undefined} */
let hearingSince

followHealth({
  instance (instanceId) { server = instanceId },
  state (open) {
    live = open
    hearingSince = undefined
    connection.dataset.state = live ? 'live' : 'reconnecting'
    connection.textContent = live ? 'Live' : 'Reconnecting…'
  },
  report (report) {
    const now = performance.now()
    if (report.instanceId === server) hearingSince = report.healthy ? hearingSince ?? now : undefined
    instanceOf(report.instanceId).history.add(report, now)
  }
})

// Not with each report: who falls silent has to be shown, too.
setInterval(render, RENDER_MS)

/** @param {string} instanceId */
function instanceOf (instanceId) {
  const known = instances.get(instanceId)
  if (known !== undefined) return known
  const instance = { history: new InstanceHistory(), card: new InstanceCard(instanceId) }
  const next = [...instances].filter(([id]) => inOrder(instanceId, id) < 0).sort(([a], [b]) => inOrder(a, b))[0]
  list.insertBefore(instance.card.element, next?.[1].card.element ?? null)
  instances.set(instanceId, instance)
  return instance
}

function render () {
  const now = performance.now()
  /** @type {string[]} */
  const troubled = []
  for (const [instanceId, { history, card }] of instances) {
    history.trim(now)
    if (history.last === undefined) {
      instances.delete(instanceId)
      card.element.remove()
      continue
    }
    const state = statusOf(history, hearingSince, now)
    if (state.status !== 'ok') troubled.push(`${instanceId} is ${words[state.status].toLowerCase()}`)
    card.render(history, state, { serving: live && instanceId === server, now })
  }
  tell(troubled)
}

/** Says it anew only if it is new, since it is read out. @param {string[]} troubled */
function tell (troubled) {
  const text = troubled.length > 0 ? troubled.join(', ') : wellBeing[instances.size] ?? `All ${instances.size} instances are well`
  if (summary.textContent !== text) summary.textContent = text
}
