// @ts-check
import { find, setText } from './dom.js'
import { followHealth } from './health-stream.js'
import { InstanceCard } from './instance-card.js'
import { InstanceHistory } from './instance-history.js'
import { statusOf } from './instance-status.js'
import { ReportFlow } from './report-flow.js'

/** @typedef {{ history: InstanceHistory, card: InstanceCard }} Instance */

const RENDER_MS = 200
const { compare } = new Intl.Collator('en', { numeric: true })

/** The summary of zero, one and two healthy instances. */
const HEALTHY = ['Waiting for the first report…', 'The instance is healthy', 'Both instances are healthy']
/** What the summary says of an instance that is not healthy. */
const TROUBLE = { degraded: 'is degraded', down: 'is down', stopped: 'has stopped', unknown: 'is out of reach' }

const summary = find('#summary', 'p')
const connection = find('#connection', 'p')
const list = find('#instances', 'div')

const flow = new ReportFlow()
/** @type {Map<string, Instance>} */
const instances = new Map()

followHealth({
  opened (instanceId) {
    flow.opened(instanceId)
    showConnection()
  },
  closed () {
    flow.closed()
    showConnection()
  },
  report (report) {
    const now = performance.now()
    flow.received(report, now)
    instanceOf(report.instanceId).history.add(report, now)
  }
})

// By a timer, not for each report, since an instance that is silent has to be shown as well.
setInterval(render, RENDER_MS)

function showConnection () {
  connection.dataset.state = flow.live ? 'live' : 'reconnecting'
  connection.textContent = flow.live ? 'Live' : 'Reconnecting…'
}

/** @param {string} instanceId */
function instanceOf (instanceId) {
  const known = instances.get(instanceId)
  if (known !== undefined) return known
  const instance = { history: new InstanceHistory(), card: new InstanceCard(instanceId) }
  const [next] = [...instances].filter(([id]) => compare(instanceId, id) < 0).sort(([a], [b]) => compare(a, b))
  list.insertBefore(instance.card.element, next?.[1].card.element ?? null)
  instances.set(instanceId, instance)
  return instance
}

function render () {
  const now = performance.now()
  const troubles = [...instances].map(([instanceId, instance]) => renderInstance(instanceId, instance, now))
  showSummary(troubles.filter((trouble) => trouble !== ''))
}

/** @param {string} instanceId @param {Instance} instance @param {number} now @returns {string} its trouble, or '' */
function renderInstance (instanceId, { history, card }, now) {
  history.trim(now)
  if (history.last === undefined) {
    instances.delete(instanceId)
    card.element.remove()
    return ''
  }
  const state = statusOf(history, flow.complete(now), now)
  card.render(history, state, { serving: flow.live && instanceId === flow.server, now })
  return state.status === 'ok' ? '' : `${instanceId} ${TROUBLE[state.status]}`
}

/** @param {string[]} troubles */
function showSummary (troubles) {
  const healthy = HEALTHY[instances.size] ?? `All ${instances.size} instances are healthy`
  const text = troubles.length > 0 ? troubles.join(', ') : healthy
  setText(summary, text)
}
