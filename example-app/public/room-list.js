// @ts-check
import { find, make } from './dom.js'

/** @typedef {{ id: string, name: string, topic: string }} Room */

/** The rooms, with how many messages are unread in each. */
export class RoomList {
  #list = find('#rooms', 'ul')
  /** @type {Map<string, { link: HTMLAnchorElement, badge: HTMLElement, unread: number }>} */
  #items = new Map()

  /** @param {readonly Room[]} rooms */
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
    // In the narrow layout the rooms are a strip that may reach out of sight.
    this.#items.get(id)?.link.scrollIntoView({ block: 'nearest', inline: 'nearest' })
    this.markRead(id)
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
    item.unread = unread
    item.badge.hidden = unread === 0
    item.badge.replaceChildren(unread > 99 ? '99+' : String(unread), make('span', 'visually-hidden', ' unread'))
  }
}
