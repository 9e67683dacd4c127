-- How many reviews has each star?
SELECT
    star_rating,
    count(*) AS reviews,
    1e0 * count(*) / sum(count(*)) OVER () AS share
FROM reviews
GROUP BY star_rating
ORDER BY star_rating DESC
