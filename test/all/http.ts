import { loadTests } from '../support/load-tests.ts'

loadTests('integration/http')
