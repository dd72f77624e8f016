// @ts-check
import { find, make } from './dom.js'

/** @typedef {{ id: string, name: string, topic: string }} RoomInfo */

const RETRY_MS = 2_000

/** The rooms, with the number of unread messages in each. */
export class RoomList {
  #list = find('#rooms', 'ul')
  /** @type {Map<string, { link: HTMLAnchorElement, badge: HTMLElement, unread: number }>} */
  #items = new Map()
  #selected = ''

  /** @param {readonly RoomInfo[]} rooms */
  constructor (rooms) {
    for (const { id, name } of rooms) {
      const badge = make('span', 'badge')
      badge.hidden = true
      const sign = make('span', 'room-sign', '#')
      sign.ariaHidden = 'true'
      const link = make('a', 'room', sign, make('span', 'room-label', name), badge)
      link.href = `#/${id}`
      this.#list.append(make('li', '', link))
      this.#items.set(id, { link, badge, unread: 0 })
    }
    this.#list.addEventListener('scroll', () => this.#showEdges(), { passive: true })
    new window.ResizeObserver(() => this.#showSelected()).observe(this.#list)
  }

  get unread () {
    return [...this.#items.values()].reduce((sum, { unread }) => sum + unread, 0)
  }

  /** @param {string} id */
  select (id) {
    for (const [otherId, { link }] of this.#items) {
      if (otherId === id) link.setAttribute('aria-current', 'page')
      else link.removeAttribute('aria-current')
    }
    this.#selected = id
    this.markRead(id)
    this.#showSelected()
  }

  /** @param {string} id */
  countUnread (id) {
    this.#setUnread(id, (this.#items.get(id)?.unread ?? 0) + 1)
  }

  /** @param {string} id */
  markRead (id) {
    this.#setUnread(id, 0)
  }

  /** @param {string} id @param {number} unread */
  #setUnread (id, unread) {
    const item = this.#items.get(id)
    if (item === undefined) return
    const resized = (item.unread === 0) !== (unread === 0)
    item.unread = unread
    item.badge.hidden = unread === 0
    item.badge.replaceChildren(unread > 99 ? '99+' : String(unread), make('span', 'visually-hidden', ' unread'))
    if (resized) this.#showSelected()
  }

  /** On a phone, the rooms are tabs in a row. In the middle, the selected one shows its neighbours. */
  #showSelected () {
    this.#items.get(this.#selected)?.link.scrollIntoView({ block: 'nearest', inline: 'center' })
    this.#showEdges()
  }

  /** Marks the edges beyond which there are more tabs. */
  #showEdges () {
    const { scrollLeft, scrollWidth, clientWidth } = this.#list
    this.#list.parentElement?.classList.toggle('more-before', scrollLeft > 1)
    this.#list.parentElement?.classList.toggle('more-after', scrollWidth - clientWidth - scrollLeft > 1)
  }
}

/** Resolves when the server has answered. @returns {Promise<RoomInfo[]>} */
export async function loadRooms () {
  for (;;) {
    try {
      const response = await fetch('/api/rooms')
      if (response.ok) return (await response.json()).rooms
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}
