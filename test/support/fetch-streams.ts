/** A `fetch` whose polls fail. A client whose stream ends soon therefore opens another stream. */
export const fetchStreams: typeof fetch = async (url, init) => {
  if (new Headers(init?.headers).get('accept') === 'application/json') throw Error('No poll')
  return await fetch(url, init)
}
