/** Queries that are refused, each with what the message says. */
export const wrongValues: [query: object, message: RegExp][] = [
  ...['', 'e', 'e-1', 'e-1-x', '-1-1', 'e-1-1.e-2-2', `${'x'.repeat(33)}-1-1`].map((id): [object, RegExp] =>
    [{ after: id }, /`after` must be the id of an event, or a `lastEventId`, got (an empty string|another text)/]),
  [{ before: 'hunter2' }, /`before` must be the id of an event, or a `lastEventId`, got another text/],
  [{ before: 5 }, /`before` must be the id of an event, or a `lastEventId`, got number/],
  [{ after: ['e-1-1'] }, /`after` must be the id of an event, or a `lastEventId`, got an array/],
  ...[0, -1, 1.5, 1_001, NaN, Infinity].map((limit): [object, RegExp] =>
    [{ limit }, new RegExp(`\`limit\` must be a whole number from 1 to 1000, got ${limit}`)]),
  [{ limit: '5' }, /`limit` must be a whole number from 1 to 1000, got string/],
  [{ limit: null }, /`limit` must be a whole number from 1 to 1000, got null/]
]
