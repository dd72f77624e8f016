export const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

export const upTo = (last: number): number[] => range(1, last)
