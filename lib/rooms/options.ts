import { count } from '../core/option-kinds.ts'

/** Options of rooms. */
export const roomOptions = {
  /**
   * Maximum number of chats that this instance follows at the same time.
   * @default no limit
   */
  maxRooms: count({ from: 1, scope: 'process' })
}
