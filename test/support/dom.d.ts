// The types of React name elements, but this program has no types of the DOM: what the tests read of an element.
interface Element {
  scrollTop: number
  readonly scrollHeight: number
  readonly clientHeight: number
  querySelector (selectors: string): Element | null
  getBoundingClientRect (): { readonly bottom: number }
}
