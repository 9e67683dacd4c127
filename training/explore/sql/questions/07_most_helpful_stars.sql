-- Which stars are found most helpful? The share is that of the votes that said "helpful".
SELECT
    star_rating,
    count(*) AS voted_reviews,
    CAST(sum(helpful_votes) AS bigint) AS helpful_votes,
    CAST(sum(total_votes) AS bigint) AS total_votes,
    1e0 * sum(helpful_votes) / sum(total_votes) AS helpful_share,
    1e0 * sum(helpful_votes) / count(*) AS helpful_votes_per_review
FROM reviews
WHERE total_votes > 0 AND helpful_votes IS NOT NULL
GROUP BY star_rating
ORDER BY star_rating DESC
