"""The console: where an operator watches the mesh, asks why, and, with a token, changes something.

    GET  /console/...                  the page and what it is made of: files of this package, nothing from elsewhere
    GET  /console/api/about            whether there is a token, and whether the one shown is it
    GET  /console/api/state[?at=T]     the state document: what is so now, or was at T
    GET  /console/api/events           the same at every tick, as server-sent events
    GET  /console/api/span             from when to when there is a past to look at
    GET  /console/api/history          figures of one service or endpoint over time, for a chart
    GET  /console/api/news             what was decided and told in a time
    GET  /console/api/file             the mesh file: what is in force by it, and what reading it again would change
    POST /console/api/whatif           a question to the recording
    POST /freeze, /rollback, /mode     are the admin API's, with its audit

`state` makes the document out of a Decision, `past` keeps and finds old ones, `pages` serves all of it.
"""
